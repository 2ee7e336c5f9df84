"""What weights do to training, on a simulated team: reward accuracy and true utility.

    python -m benchmarks.raters.effect --replicates 8 --out effect.json

Every case is run on the same seeds, with the same prompts, answers and held-out answers. Arms:

    as they are     every vote counts the same
    majority        the majority's label, every pair counts the same
    dropping        no vote of a rater who was ever watched or suspended; the others count the same
    our weights     what a round does: `judge_raters`, `aggregate.pairs`, and old rounds' fading
    borrowing       the same, but pairs with one vote have the label of `worth.fit`, with the small
                    text model's opinion, fitted out of fold, as its prior
    oracle          no vote of a bad rater in a bad round; the others count the same

Reward accuracy is the share of held-out pairs of answers that the reward model orders as the true
utility does; labels right is the same share of the single-voted pairs' own labels. Utility is that
of the answer it likes best of n. All stand with a 95 % interval over seeds (t), and as a difference
from "as they are", paired by seed. The share of the gap is the mean difference of an arm over that
of the oracle; its interval is a bootstrap over seeds.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.raters import team as simulated
from benchmarks.raters.case import interval, options
from benchmarks.raters.team import RATERS, SPLIT, Fault, Held, Pair, Plan
from roundhouse.raters import aggregate, fading, opinion, worth
from roundhouse.raters.table import Ratings, latest
from roundhouse.raters.verdict import RaterVerdict, judge_raters
from roundhouse.simulate.world import utility

Floats = NDArray[np.float64]

ARMS = ("as they are", "majority", "dropping", "our weights", "borrowing", "oracle")
FIGURES = ("accuracy", "labels right", "best of 4", "best of 16")
#: Held-out prompts, each with `team.CANDIDATES` answers.
HELD = 300
DRAWS = 10_000


class Regime(NamedTuple):
    """A case: who rates how much, and who is bad from which round on.

    faults: kinds in turn, dealt to the bad raters; bad: share of the raters; since: first round.
    """

    name: str
    plan: Plan
    faults: tuple[Fault, ...]
    bad: float
    since: int = 1


MIXTURE = (Fault("random"), Fault("flip"), Fault("fixed"))
THREE = Plan(pairs=600, overlap=1.0)
REGIMES = (
    Regime("a quarter bad, three votes a pair", THREE, MIXTURE, 0.25),
    Regime("a quarter bad, 30 % of pairs overlap", Plan(pairs=1200, overlap=0.3), MIXTURE, 0.25),
    Regime(
        "a quarter bad in half of their votes, 30 % of pairs overlap",
        Plan(pairs=1200, overlap=0.3),
        tuple(fault._replace(share=0.5) for fault in MIXTURE),
        0.25,
    ),
    Regime(
        "a third drifts in round 2 of 3 and stays",
        Plan(pairs=400, overlap=1.0, rounds=3),
        (Fault("flip", 0.8),),
        1 / 3,
        since=2,
    ),
    Regime(
        "a quarter bad, single votes, no check items",
        Plan(pairs=1800, overlap=0.0, checks=(0, 0)),
        MIXTURE,
        0.25,
    ),
    Regime("nobody bad, three votes a pair", THREE, (), 0.0),
)


def measured(regime: Regime, work: Sequence[Pair], held: Held, seed: int) -> dict[str, Any]:
    """Arm to its figures, for one seed; and who was flagged, under `flagged`."""
    plan = regime.plan
    faults = _faults(regime, seed)
    ratings = simulated.ratings(simulated.rated(work, plan, faults, seed))
    regions = dict(zip(ratings.votes["rater"], ratings.votes["region"], strict=True))
    judged = judge_raters(ratings.votes, RATERS, regions)
    features = opinion.features(ratings.items)
    found: dict[str, Any] = {}
    for arm in ARMS:
        lines = _lines(arm, ratings, judged, faults, seed)
        model = simulated.reward(lines, ratings, features)
        found[arm] = {
            "labels right": _right(lines),
            "accuracy": simulated.accuracy(model, held),
            "best of 4": simulated.picked(model, held, 4),
            "best of 16": simulated.picked(model, held, 16),
        }
    flagged = {one.rater for one in judged if _flagged(one)}
    found["flagged"] = {
        "bad": len(flagged & faults.keys()) / max(1, len(faults)),
        "honest": len(flagged - faults.keys()) / (len(judged) - len(faults)),
    }
    return found


def _faults(regime: Regime, seed: int) -> dict[str, Fault]:
    names = [f"sim-{number:02d}" for number in range(1, regime.plan.raters + 1)]
    bad = Random(f"{seed}/bad").sample(names, round(regime.bad * len(names)))
    return {
        name: regime.faults[place % len(regime.faults)]._replace(since=regime.since)
        for place, name in enumerate(bad)
    }


def _right(lines: Sequence[Mapping[str, Any]]) -> float:
    """Share of single-voted pairs whose label says the truth; NaN without any."""
    told = []
    for line in lines:
        if line["votes"] == 1 and line["p"] != 0.5:
            asked = line["prompt"][0]["content"]
            better = utility(asked, line["a"]) - utility(asked, line["b"])
            told.append((line["p"] > 0.5) == (better > 0))
    return float(np.mean(told)) if told else float("nan")


def _borrowed(lines: list[dict[str, Any]], ratings: Ratings) -> list[dict[str, Any]]:
    place = {simulated.texts(item._asdict()): k for k, item in enumerate(ratings.items)}
    code = np.array([place[simulated.texts(line)] for line in lines])
    items = [ratings.items[k] for k in code]
    p, weight = (np.array([line[name] for line in lines]) for name in ("p", "weight"))
    said = opinion.out_of_fold(opinion.features(items), p, weight, opinion.folds(items))
    votes = latest(ratings.votes)
    epochs = votes["rater"] + "@" + votes["round"].astype(str)
    found = worth.fit(votes.assign(rater=epochs, person=votes["rater"]), pd.Series(said, code))
    first = pd.Series(found.first, found.items)[code].to_numpy()
    return [
        line | {"p": float(chance)} if line["votes"] == 1 else line
        for line, chance in zip(lines, first, strict=True)
    ]


def _lines(
    arm: str,
    ratings: Ratings,
    judged: Sequence[RaterVerdict],
    faults: Mapping[str, Fault],
    seed: int,
) -> list[dict[str, Any]]:
    if arm in ("our weights", "borrowing"):
        lines = aggregate.pairs(ratings, judged, RATERS, SPLIT)
        lines = fading.faded(lines, fading.of_pairs(lines, seed))
        return _borrowed(lines, ratings) if arm == "borrowing" else lines
    settings = RATERS.model_copy(
        update={"weighting": "majority" if arm == "majority" else "none", "max_rater_share": 1.0}
    )
    left = ratings._replace(votes=ratings.votes[_kept(arm, ratings.votes, judged, faults)])
    # Of no votes nothing follows: everyone counts the same.
    alike = judge_raters(left.votes.iloc[:0], settings, {one.rater: one.region for one in judged})
    return aggregate.pairs(left, alike, settings, SPLIT)


def _kept(
    arm: str, votes: pd.DataFrame, judged: Sequence[RaterVerdict], faults: Mapping[str, Fault]
) -> NDArray[np.bool_]:
    """[votes] True where the arm counts the vote."""
    if arm == "dropping":
        return ~votes["rater"].isin([one.rater for one in judged if _flagged(one)]).to_numpy()
    if arm == "oracle":
        since = votes["rater"].map({name: fault.since for name, fault in faults.items()})
        return ~(votes["round"] >= since).to_numpy()
    return np.ones(len(votes), dtype=bool)


def _flagged(one: RaterVerdict) -> bool:
    return any(epoch.state in ("watch", "suspended") for epoch in one.epochs)


def summary(found: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Means with intervals over seeds, differences from "as they are", shares of the gap."""
    table: dict[str, Any] = {}
    for figure in FIGURES:
        value = {arm: np.array([one[arm][figure] for one in found]) for arm in ARMS}
        if np.isnan(list(value.values())).any():
            continue
        gain = {arm: value[arm] - value["as they are"] for arm in ARMS}
        table[figure] = {
            arm: {
                "mean": interval(value[arm]),
                "gain": interval(gain[arm]),
                "of the gap": _won(gain[arm], gain["oracle"], seed),
            }
            for arm in ARMS
        }
    table["flagged"] = {
        who: interval(np.array([one["flagged"][who] for one in found])) for who in ("bad", "honest")
    }
    return table


def _won(gain: Floats, oracle: Floats, seed: int) -> tuple[float, float, float]:
    """Ratio of means, with its percentile interval over seeds; NaN where there is no gap."""
    if not oracle.mean():
        return (float("nan"),) * 3
    rows = np.random.default_rng(seed).integers(0, len(gain), (DRAWS, len(gain)))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = gain[rows].mean(axis=1) / oracle[rows].mean(axis=1)
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return float(gain.mean() / oracle.mean()), float(low), float(high)


def show(name: str, table: Mapping[str, Any]) -> None:
    """Prints the table of one case."""
    write = sys.stdout.write
    bad, honest = (table["flagged"][who][0] for who in ("bad", "honest"))
    write(f"\n{name}: flagged {bad:.0%} of the bad, {honest:.0%} of the others\n")
    for figure in (each for each in FIGURES if each in table):
        write(f"  {figure:12} {'mean':24} {'less as they are':27} of the gap\n")
        for arm in ARMS:
            parts = table[figure][arm]
            cells = [_cell(parts[part], ".4f") for part in ("mean", "gain")]
            gap = _cell(parts["of the gap"], ".0%") if arm in ARMS[1:-1] else ""
            write(f"    {arm:12} {cells[0]:25} {cells[1]:27} {gap}\n")


def _cell(span: tuple[float, float, float], form: str) -> str:
    if np.isnan(span[0]):
        return ""
    value, low, high = (format(each, form) for each in span)
    return f"{value} ({low} to {high})"


def main() -> None:
    """Runs the cases whose name has the given word."""
    args = options(__doc__, 8, REGIMES)
    found: dict[str, list[dict[str, Any]]] = {regime.name: [] for regime in args.cases}
    start = time.monotonic()
    for seed in args.seeds:
        work = simulated.pairs(max(r.plan.pairs * r.plan.rounds for r in args.cases), seed)
        held = simulated.held(HELD, seed)
        for regime in args.cases:
            part = work[: regime.plan.pairs * regime.plan.rounds]
            found[regime.name].append(measured(regime, part, held, seed))
    tables = {name: summary(each, args.seeds.start) for name, each in found.items()}
    for name, table in tables.items():
        show(name, table)
    sys.stdout.write(f"\n{len(args.seeds)} seeds, {time.monotonic() - start:.0f} s\n")
    if args.out:
        args.out.write_text(json.dumps({"cases": tables, "seeds": found}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
