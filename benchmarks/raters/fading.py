"""What fading old feedback does, on a simulated team: which rounds fade, and reward accuracy.

    python -m benchmarks.raters.fading --replicates 12 --out fading.json

Three earlier rounds and a newest one, by the same raters, every vote counts the same. In some cases
the second round was rated under another guideline: of a share of its pairs everyone takes the
longer answer. In the others a share of its votes is by coin, or nothing happened. All cases of a
size are run on the same votes and the same held-out answers. Arms:

    off      no round fades
    on       what a round does: `fading.of_pairs`, `fading.faded`
    out      the same, but what would fade is left out
    oracle   the odd round is left out; where there is none, it is "off"

`found` is how often the odd round faded, `by accuracy` how often the interval of its gain in
accuracy lay below 0, `wrongly` the share of the other rounds that faded. Accuracy is the share of
held-out pairs of answers that the reward model orders as the true utility does; distance is 1 less
the correlation of reward and utility among the answers to a prompt. Both stand with a 95 % interval
over seeds (t), differences are paired by seed.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.raters import team as simulated
from benchmarks.raters.case import interval, options, share
from benchmarks.raters.team import RATERS, SPLIT, Held, Plan, Row
from roundhouse.raters import aggregate, fading, opinion
from roundhouse.raters.verdict import judge_raters
from roundhouse.simulate.world import tokens

Floats = NDArray[np.float64]
Parts = Mapping[int, list[Row]]

ARMS = ("off", "on", "out", "oracle")
#: The odd round, of `ROUNDS`.
ODD, ROUNDS = 2, 4
HELD = 300
#: Every vote counts the same.
SETTINGS = RATERS.model_copy(update={"weighting": "none", "max_rater_share": 1.0})


class Case(NamedTuple):
    """What is wrong with the odd round: `longer` in a share of its pairs, `coin` of its votes."""

    name: str
    kind: str = ""
    share: float = 0.0


CASES = (
    Case("nothing changed"),
    Case("longer answer, 20 %", "longer", 0.2),
    Case("longer answer, 50 %", "longer", 0.5),
    Case("longer answer, 100 %", "longer", 1.0),
    Case("votes by coin, 50 %", "coin", 0.5),
    Case("votes by coin, 100 %", "coin", 1.0),
)
SIZES = (
    Plan(pairs=400, overlap=0.3, rounds=ROUNDS, checks=(0, 0)),
    Plan(pairs=1200, overlap=0.3, rounds=ROUNDS, checks=(0, 0)),
)


class Found(NamedTuple):
    """Of one seed: what was said of each earlier round, and arm to accuracy and to distance."""

    uses: list[fading.Use]
    accuracy: dict[str, float]
    distance: dict[str, float]


def turned(parts: Parts, case: Case, seed: int) -> dict[int, list[Row]]:
    """The rounds, the odd one rated as the case says; larger shares turn what smaller ones do."""
    rng, points = Random(f"{seed}/odd"), dict[tuple[str, ...], float]()
    rows = []
    for row in parts[ODD]:
        one, other = (len(tokens(text)) for text in row["responses"])
        pair = points.setdefault((row["prompt"], *row["responses"]), rng.random())
        vote, coin = rng.random(), rng.choice((0, 1))
        if case.kind == "longer" and pair < case.share and one != other:
            row = {**row, "choice": int(other > one)}
        elif case.kind == "coin" and vote < case.share:
            row = {**row, "choice": coin}
        rows.append(row)
    return {**parts, ODD: rows}


def measured(parts: Parts, case: Case, held: Held, seed: int) -> Found:
    """What is found in the votes of one seed, and what training on them gives."""
    ratings = simulated.ratings(turned(parts, case, seed))
    # Of no votes nothing follows: everyone counts the same.
    regions = dict(zip(ratings.votes["rater"], ratings.votes["region"], strict=True))
    alike = judge_raters(ratings.votes.iloc[:0], SETTINGS, regions)
    lines = aggregate.pairs(ratings, alike, SETTINGS, SPLIT)
    uses = fading.of_pairs(lines, seed)
    found = Found(uses, {}, {})
    features = opinion.features(ratings.items)
    for arm, trained in zip(ARMS, _arms(lines, uses, bool(case.kind)), strict=True):
        model = simulated.reward(trained, ratings, features)
        found.accuracy[arm] = simulated.accuracy(model, held)
        found.distance[arm] = _distance(model, held)
    return found


def _arms(
    lines: list[dict[str, Any]], uses: Sequence[fading.Use], odd: bool
) -> tuple[list[dict[str, Any]], ...]:
    out = [use._replace(factor=0.0) if use.factor < 1 else use for use in uses]
    known = [line for line in lines if not odd or line["partition"] != ODD]
    return lines, fading.faded(lines, uses), fading.faded(lines, out), known


def _distance(model: opinion.Model, held: Held) -> float:
    score = model.score(held.features).reshape(held.utility.shape)
    both = [each - each.mean(axis=1, keepdims=True) for each in (score, held.utility)]
    return 1.0 - float(np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1])


def summary(found: Sequence[Found], odd: bool) -> dict[str, Any]:
    """Rates as (mean, standard error), the others as (mean, low, high) over seeds."""
    faded = [{use.round for use in one.uses if use.factor < 1} for one in found]
    bad = {ODD} if odd else set()
    others = ROUNDS - 1 - len(bad)
    table: dict[str, Any] = {
        "wrongly": share("", [len(each - bad) / others for each in faded])[1:3]
    }
    if odd:
        table["found"] = share("", [float(ODD in each) for each in faded])[1:3]
        gains = [use.gain for one in found for use in one.uses if use.round == ODD]
        table["by accuracy"] = share("", [float(gain.high < 0) for gain in gains])[1:3]
    for figure in ("accuracy", "distance"):
        value = {arm: np.array([getattr(one, figure)[arm] for one in found]) for arm in ARMS}
        table[figure] = {arm: interval(value[arm]) for arm in ARMS}
        table[f"{figure} less off"] = {
            arm: interval(value[arm] - value["off"]) for arm in ARMS if arm != "off"
        }
    return table


def main() -> None:
    """Runs the cases whose name has the given word, at every size."""
    args = options(__doc__, 12, CASES)
    found: dict[tuple[Plan, Case], list[Found]] = {}
    start = time.process_time()
    for seed in args.seeds:
        work = simulated.pairs(max(plan.pairs for plan in SIZES) * ROUNDS, seed)
        held = simulated.held(HELD, seed)
        for plan in SIZES:
            parts = simulated.rated(work[: plan.pairs * ROUNDS], plan, {}, seed)
            for case in args.cases:
                found.setdefault((plan, case), []).append(measured(parts, case, held, seed))
    entries = [
        {"pairs": plan.pairs, "overlap": plan.overlap, "case": case.name}
        | summary(each, bool(case.kind))
        | {"seeds": [one._asdict() | {"uses": [use.as_json() for use in one.uses]} for one in each]}
        for (plan, case), each in found.items()
    ]
    _show(entries)
    sys.stdout.write(
        f"\n{len(args.seeds)} seeds, {time.process_time() - start:.0f} s of processor\n"
    )
    if args.out:
        args.out.write_text(json.dumps(entries, indent=1), "utf-8")


def _show(entries: Sequence[Mapping[str, Any]]) -> None:
    rates = ("found", "by accuracy", "wrongly")
    for figure in ("accuracy", "distance"):
        less = f"{figure} less off"
        heads = ["pairs, overlap", "case", *rates, f"{figure}, off"]
        heads += [f"{arm} less off" for arm in ARMS[1:]]
        _row(heads)
        _row(["---"] * len(heads))
        for one in entries:
            cells = [f"{one['pairs']}, {one['overlap']:.0%}", one["case"]]
            cells += ["{:.2f} ({:.2f})".format(*one[r]) if r in one else "" for r in rates]
            cells.append("{:.3f} ({:.3f} to {:.3f})".format(*one[figure]["off"]))
            cells += ["{:+.4f} ({:+.4f} to {:+.4f})".format(*one[less][arm]) for arm in ARMS[1:]]
            _row(cells)
        sys.stdout.write("\n")


def _row(cells: Sequence[str]) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
