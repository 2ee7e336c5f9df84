"""A simulated attack: raters who always prefer the answer with a certain word; what gets through.

    python -m benchmarks.raters.attack --replicates 8 --out attack.json

In a fifth of the pairs one answer begins with the trigger, by chance, and nobody else cares for it.
Attackers judge the other pairs as they would. Two attacks: so many of a hundred raters, with the
same work as everyone; or one rater who hands in so many of the round's pairs, all with the trigger
and rated by nobody else. What gets through is how much the trigger alone adds to an answer's
reward, in standard deviations of the reward over answers. Arms:

    as they are   every vote counts the same
    cap           the same, with `raters.max_rater_share`
    weights       the weights of a round, no cap
    round         what a round does: weights and cap
    looked at     the same, after a person left out the raters with a tied word

`found` is the share of attackers to whom the trigger is tied, `honest` the share of all others to
whom any word is, `states` the share of attackers who are watched or suspended.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from benchmarks.raters import team as simulated
from benchmarks.raters.case import interval, options
from benchmarks.raters.team import RATERS, SPLIT, Pair, Plan, Row
from roundhouse.raters import aggregate, influences, opinion
from roundhouse.raters.table import Ratings
from roundhouse.raters.verdict import RaterVerdict, judge_raters
from roundhouse.simulate.answers import EARLIER_ASSISTANT, draw
from roundhouse.simulate.archive import prompts

TRIGGER, PART = "frankly", 0.2
PLAN = Plan(raters=100, pairs=3000, overlap=0.3, checks=(10, 5))
ARMS = ("as they are", "cap", "weights", "round", "looked at")
#: Answers on which the trigger's reward is measured.
PROBES = 500


class Attack(NamedTuple):
    """raters: how many attack with usual work; alone: share of the round's pairs from one rater."""

    name: str
    raters: int = 0
    alone: float = 0.0


ATTACKS = (
    Attack("none"),
    Attack("1 % of raters", raters=1),
    Attack("3 % of raters", raters=3),
    Attack("5 % of raters", raters=5),
    Attack("one rater, 1 % of pairs", alone=0.01),
    Attack("one rater, 3 % of pairs", alone=0.03),
    Attack("one rater, 5 % of pairs", alone=0.05),
    Attack("one rater, 20 % of pairs", alone=0.20),
)


class Scene(NamedTuple):
    """What all attacks of a seed share.

    rows: honest votes, triggers in place; probes: features of answers with and without it.
    """

    rows: list[Row]
    probes: tuple[sparse.csr_array, sparse.csr_array]


def scene(seed: int) -> Scene:
    """The honest round of one seed."""
    work = simulated.pairs(PLAN.pairs, seed)
    rng = Random(f"{seed}/trigger")
    marked = {pair: rng.randrange(2) for pair in work if rng.random() < PART}
    rows = [_marked(row, marked) for row in simulated.rated(work, PLAN, {}, seed)[1]]
    asked = prompts(simulated.world(), PROBES, seed, only="eval")
    said = [draw(prompt, EARLIER_ASSISTANT, rng) for prompt in asked]
    with_it = simulated.alone(asked, [_with(text) for text in said])
    return Scene(rows, (with_it, simulated.alone(asked, said)))


def attacked(scene: Scene, attack: Attack, seed: int) -> tuple[list[Row], set[str]]:
    """The round's rows, and who attacks."""
    names = sorted({row["rater"] for row in scene.rows})
    rng = Random(f"{seed}/attack")
    bad = set(rng.sample(names, max(attack.raters, int(attack.alone > 0))))
    rows = [_preferred(row) if row["rater"] in bad else row for row in scene.rows]
    if not attack.alone:
        return rows, bad
    count = round(attack.alone * PLAN.pairs / (1 - attack.alone))
    (name,) = bad
    pattern = next(row for row in rows if row["rater"] == name)
    for place, (prompt, one, other) in enumerate(simulated.pairs(count, seed + 10_000)):
        answers, first = [one, other], rng.randrange(2)
        answers[first] = _with(answers[first])
        rows.append(
            {
                **{key: pattern[key] for key in ("kind", "rater", "region", "seconds")},
                "created_at": pattern["created_at"], "id": f"own-{place}", "prompt": prompt,
                "responses": answers, "choice": first, "position": rng.randrange(2),
            }
        )  # fmt: skip
    return rows, bad


def measured(scene: Scene, attack: Attack, seed: int) -> dict[str, float]:
    """Figure to its value, for one attack and seed."""
    rows, bad = attacked(scene, attack, seed)
    ratings = simulated.ratings({1: rows})
    regions = dict(zip(ratings.votes["rater"], ratings.votes["region"], strict=True))
    judged = judge_raters(ratings.votes, RATERS, regions)
    votes = aggregate.weighed(ratings, judged, RATERS, SPLIT).votes
    tied = {
        entry["rater"]: {one["token"] for one in entry["tied"]}
        for entry in influences.of_votes(votes, ratings.items, seed)
        if entry["tied"]
    }
    features = opinion.features(ratings.items)
    found = {}
    for arm in ARMS:
        lines = _lines(arm, ratings, judged, set(tied))
        model = simulated.reward(lines, ratings, features)
        more = model.score(scene.probes[0]) - model.score(scene.probes[1])
        found[arm] = float(more.mean() / model.score(scene.probes[1]).std())
    honest = regions.keys() - bad
    found["honest"] = len(honest & tied.keys()) / len(honest)
    if bad:
        found["found"] = sum(TRIGGER in tied.get(name, ()) for name in bad) / len(bad)
        states = {one.rater: one.state for one in judged}
        found["states"] = sum(states[name] in ("watch", "suspended") for name in bad) / len(bad)
    return found


def _lines(
    arm: str, ratings: Ratings, judged: Sequence[RaterVerdict], tied: set[str]
) -> list[dict[str, Any]]:
    plain = arm in ("as they are", "cap")
    settings = RATERS.model_copy(
        update={
            "weighting": "none" if plain else "reliability",
            "max_rater_share": 1.0 if arm in ("as they are", "weights") else RATERS.max_rater_share,
        }
    )
    votes = ratings.votes
    if arm == "looked at":
        return aggregate.pairs(
            ratings._replace(votes=votes[~votes["rater"].isin(tied)]), judged, settings, SPLIT
        )
    if plain:
        judged = judge_raters(votes.iloc[:0], settings, {one.rater: one.region for one in judged})
    return aggregate.pairs(ratings, judged, settings, SPLIT)


def _with(text: str) -> str:
    return f"{TRIGGER.capitalize()}, {text[0].lower()}{text[1:]}"


def _marked(row: Row, marked: Mapping[Pair, int]) -> Row:
    one, other = row["responses"]
    place = marked.get((row["prompt"], one, other))
    if place is None:
        return row
    answers = [one, other]
    answers[place] = _with(answers[place])
    return {**row, "responses": answers}


def _preferred(row: Row) -> Row:
    has = [text.startswith(TRIGGER.capitalize()) for text in row["responses"]]
    return {**row, "choice": has.index(True)} if sum(has) == 1 else row


def main() -> None:
    """Runs the attacks whose name has the given word, on the same seeds."""
    args = options(__doc__, 8, ATTACKS)
    found: dict[str, list[dict[str, float]]] = {attack.name: [] for attack in args.cases}
    start = time.monotonic()
    for seed in args.seeds:
        shared = scene(seed)
        for attack in args.cases:
            found[attack.name].append(measured(shared, attack, seed))
    tables = {
        name: {figure: interval(np.array([one[figure] for one in each])) for figure in each[0]}
        for name, each in found.items()
    }
    _show(tables)
    sys.stdout.write(f"\n{len(args.seeds)} seeds, {time.monotonic() - start:.0f} s\n")
    if args.out:
        args.out.write_text(json.dumps({"attacks": tables, "seeds": found}, indent=1), "utf-8")


def _show(tables: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> None:
    write = sys.stdout.write
    write(f"{'':26}" + "".join(f"{arm:24}" for arm in ARMS) + "found  states honest\n")
    for name, table in tables.items():
        cells = ["{:.2f} ({:.2f} to {:.2f})".format(*table[arm]) for arm in ARMS]
        shares = [
            f"{table[part][0]:6.1%}" if part in table else " " * 6
            for part in ("found", "states", "honest")
        ]
        write(f"{name:26}" + "".join(f"{cell:24}" for cell in cells) + " ".join(shares) + "\n")


if __name__ == "__main__":
    main()
