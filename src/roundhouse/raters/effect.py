"""What raters do to training, checked and written: old rounds' use, and what one rater can do."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from roundhouse import jsonl
from roundhouse.raters import aggregate, fading, influences
from roundhouse.raters.table import Ratings
from roundhouse.raters.verdict import Epoch, RaterVerdict
from roundhouse.settings import RaterSettings, SplitSettings


class Effect(NamedTuple):
    """pairs: the lines of pairs.jsonl with the factors of faded rounds; figures: of the stage;
    verdicts: as given, with the weights that the cap on one rater's share left."""

    pairs: list[dict[str, Any]]
    figures: dict[str, float]
    verdicts: list[RaterVerdict]


def write(
    out: Path,
    ratings: Ratings,
    verdicts: Sequence[RaterVerdict],
    settings: RaterSettings,
    split: SplitSettings,
    seed: int,
) -> Effect:
    """The pairs that train; writes rounds.json (`fading.Use`, empty without `raters.fade`) and
    poisoning.json (`influences`)."""
    weighed = aggregate.weighed(ratings, verdicts, settings, split)
    pairs = aggregate.of_votes(weighed.votes, ratings.items, settings)
    uses = fading.of_pairs(pairs, seed) if settings.fade else []
    entries = influences.of_votes(weighed.votes, ratings.items, seed)
    jsonl.write_json(out / "rounds.json", [use.as_json() for use in uses])
    jsonl.write_json(out / "poisoning.json", entries)
    figures: dict[str, float] = {
        "raters/faded": sum(use.factor < 1 for use in uses),
        "raters/tied_tokens": sum(len(entry["tied"]) for entry in entries),
    }
    if math.isfinite(weighed.before):
        figures["raters/largest_share"] = weighed.before
        figures["raters/largest_share_after"] = weighed.after
    return Effect(fading.faded(pairs, uses), figures, _capped(verdicts, weighed.votes))


def _capped(verdicts: Sequence[RaterVerdict], votes: pd.DataFrame) -> list[RaterVerdict]:
    train = votes[votes["side"] == "train"]
    kept = {
        (rater, number): float(part["kept"].iloc[0])
        for (rater, number), part in train.groupby(["rater", "round"])
    }

    def left(rater: str, epoch: Epoch) -> Epoch:
        part = kept.get((rater, epoch.round), 1.0)
        return epoch.scaled(part)._replace(kept=part)

    return [
        one._replace(epochs=[left(one.rater, epoch) for epoch in one.epochs]) for one in verdicts
    ]
