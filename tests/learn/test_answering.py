"""Talking to a model folder."""

from collections.abc import Callable
from pathlib import Path

from roundhouse.learn import models
from roundhouse.learn.answering import answerer
from roundhouse.learn.models import Policy
from roundhouse.settings import Settings


def test_a_conversation_follows_its_seed_and_never_repeats_itself(
    policy: Policy, tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    models.save(policy, tmp_path)
    said, again = (answerer(tmp_path, tiny().model, 1.0, seed=3) for _ in range(2))
    first = [said("why?") for _ in range(4)]
    assert first == [again("why?") for _ in range(4)]
    assert len(set(first)) > 1
