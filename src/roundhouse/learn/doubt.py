"""Pairs of answers that the members of a reward model disagree on: what to have judged next."""

from collections.abc import Sequence
from typing import Any

import numpy

from roundhouse.learn import reward_model, sampling
from roundhouse.learn.models import Policy
from roundhouse.learn.reward_model import Scorer
from roundhouse.learn.text import Messages
from roundhouse.settings import Settings

#: Prompts that are answered twice, at most.
_PROMPTS = 512


def pairs(
    policy: Policy, scorer: Scorer, prompts: Sequence[Messages], settings: Settings, seed: int
) -> list[dict[str, Any]]:
    """Two sampled answers to each of up to 512 prompts, the most doubtful pair first.

    A row has the prompt, both responses as a comparison has them, the score of each, what the
    members disagree on about each, and `uncertainty`: the standard deviation over members of the
    difference in score, in spreads of the supervised model's answers. Twice the same answer is no
    pair.
    """
    stride = max(1, -(-len(prompts) // _PROMPTS))
    asked = [prompt for prompt in prompts[::stride] for _ in range(2)]
    said = [
        one.text
        for one in sampling.answer(policy, asked, settings.model, settings.ppo.temperature, seed)
    ]
    opinions = numpy.array(reward_model.read(scorer, scorer.model.opinions, asked, said))
    scores = reward_model.score(scorer, asked, said)
    each, apart = opinions.std(axis=1), (opinions[::2] - opinions[1::2]).std(axis=1)
    rows = [
        {
            "prompt": asked[at],
            "responses": said[at : at + 2],
            "scores": scores[at : at + 2],
            "disagreement": each[at : at + 2].tolist(),
            "uncertainty": float(apart[at // 2]),
        }
        for at in range(0, len(asked), 2)
        if said[at] != said[at + 1]
    ]
    return sorted(rows, key=lambda row: -float(row["uncertainty"]))
