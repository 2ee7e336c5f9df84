"""A model folder as a function that answers, for a person who wants to talk to it."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from roundhouse.learn import models, sampling
from roundhouse.settings import ModelSettings


def answerer(
    folder: Path, limits: ModelSettings, temperature: float, seed: int
) -> Callable[[str], str]:
    """Loads the model once; each call answers one prompt, the same words twice in two ways.

    Raises:
        ModelError: the folder is missing, damaged or unsafe.
    """
    policy, seeds = models.load(folder), count(seed)

    def said(prompt: str) -> str:
        chat = [[{"role": "user", "content": prompt}]]
        return sampling.answer(policy, chat, limits, temperature, next(seeds))[0].text

    return said
