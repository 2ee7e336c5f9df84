"""A whole round on votes alone: a pretrained model, and nobody who wrote an answer."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse import jsonl
from tests.rounds.conftest import Command

pytestmark = [pytest.mark.round, pytest.mark.torture]


def _vote(number: int, draw: random.Random) -> dict[str, object]:
    prompt, rater = number // 3, (number + number // 3) % 9
    liked = draw.random() < 0.8
    pair = [f"The cat {prompt} sat down and it was happy.", f"No {prompt}."]
    return {
        "kind": "comparison",
        "prompt": f"Tell a story of cat number {prompt}.",
        "responses": pair[::-1] if number % 2 else pair,
        "choice": int(liked) if number % 2 else int(not liked),
        "rater": f"rater-{rater}",
        "created_at": f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z",
    }


def test_a_round_on_votes_alone_starts_from_the_base_model(
    make_checkout: Callable[..., Path], roundhouse: Command, shared: Path
) -> None:
    base = shared / "models" / "stories260K"
    root = make_checkout(**{"simulate.enabled": False, "model.base": str(base)})
    draw = random.Random(5)
    jsonl.write(root.with_name("votes.jsonl"), (_vote(number, draw) for number in range(360)))
    taken = roundhouse(root, "ingest", str(root.with_name("votes.jsonl")), "--format", "jsonl")
    assert taken.returncode == 0, taken.stderr
    done = roundhouse(root, "round", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["decision"] in ("promoted", "held")
    assert record["metrics"]["sft/demonstrations"] == 0 and "sft/loss" not in record["metrics"]
    clone = Path(record["workspace"])
    said = (clone / "logs" / "sft.log").read_text(encoding="utf-8")
    assert "sft: no demonstrations: the supervised model is model.base as it is" in said
    card = (clone / "model-card.md").read_text(encoding="utf-8")
    assert "not fine-tuned first, since there were no demonstrations" in card
    unused = record["metrics"]["raters/unused"]
    assert sum(record["unused"].values()) == unused > 0
    same = [one for one in record["rules"] if one["rule"] == "same-model"]
    assert [one["passed"] for one in same] == [True], same
