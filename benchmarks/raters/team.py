"""A simulated team with known faults, on the project's own texts: rows in, what follows out.

The raters and their skills, the answers and what they are truly worth are those of
`roundhouse.simulate`. Who rates what, who is at fault, and how, is said here. The reward model is
the small text model `roundhouse.raters.opinion`: words, pairs of words, length. The policy is not
in question; what a reward model does to it is seen in what it picks of n answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from roundhouse import params
from roundhouse.raters import opinion, table
from roundhouse.settings import RaterSettings, Settings, SplitSettings
from roundhouse.simulate.answers import EARLIER_ASSISTANT, draw
from roundhouse.simulate.archive import prompts
from roundhouse.simulate.bank import bank
from roundhouse.simulate.team import Item, Rater, choose, team
from roundhouse.simulate.world import utility

Floats = NDArray[np.float64]
Row = dict[str, Any]
#: Prompt, one answer, another.
Pair = tuple[str, str, str]

SETTINGS = params.load(Path(__file__).parents[2] / "params.yaml")
#: Everybody rates prompts that train: no panel, so that no label is lost.
SPLIT: SplitSettings = SETTINGS.split.model_copy(update={"judge_rater_share": 0.0})
RATERS: RaterSettings = SETTINGS.raters
#: Answers to each held-out prompt.
CANDIDATES = 16


class Fault(NamedTuple):
    """What a rater does in a share of their votes: `flip` says the opposite, `random` tosses a
    coin, `fixed` takes the answer shown first; from round `since` on."""

    kind: str
    share: float = 1.0
    since: int = 1


class Plan(NamedTuple):
    """Who rates how much.

    raters: people; pairs: in a round; together: people on a pair that overlaps; overlap: share of
    the pairs that do, the others have one; checks: gold and anchors for each rater and round.
    """

    raters: int = 24
    pairs: int = 800
    together: int = 3
    overlap: float = 0.3
    rounds: int = 1
    checks: tuple[int, int] = (30, 20)


class Held(NamedTuple):
    """Answers to prompts that nobody rated: [prompts * CANDIDATES] features, [prompts, CANDIDATES]
    true utility."""

    features: sparse.csr_array
    utility: Floats


def pairs(count: int, seed: int) -> list[Pair]:
    """Prompts that train, each with two different answers of the earlier assistant."""
    rng, found = Random(f"{seed}/pairs"), []
    for asked in prompts(world(), count, seed, only="train"):
        answers = {draw(asked, EARLIER_ASSISTANT, rng): None}
        while len(answers) < 2:
            answers[draw(asked, EARLIER_ASSISTANT, rng)] = None
        first, second = answers
        found.append((asked, first, second))
    return found


def rated(
    work: Sequence[Pair], plan: Plan, faults: Mapping[str, Fault], seed: int
) -> dict[int, list[Row]]:
    """Round to canonical comparison rows; `work` is dealt to the rounds in turn.

    Without faults every other number is the same: they draw from a stream of their own.
    """
    people = team(plan.raters)
    rng, own = Random(f"{seed}/work"), Random(f"{seed}/faults")
    parts: dict[int, list[Row]] = {}
    for number in range(1, plan.rounds + 1):
        rows: list[Row] = []
        for who, item, marks in _dealt(work[number - 1 :: plan.rounds], plan, people, rng):
            row = _row(who, item, marks, rng)
            row["choice"] = _faulty(row, faults.get(who.name), number, own)
            rows.append(row)
        rng.shuffle(rows)
        parts[number] = [
            {"id": f"{number}-{place}", "created_at": _time(number, place), **row}
            for place, row in enumerate(rows)
        ]
    return parts


def ratings(parts: Mapping[int, Iterable[Row]]) -> table.Ratings:
    """Through the one door."""
    return table.build(table.judgements(parts, SPLIT))


def held(count: int, seed: int) -> Held:
    """`CANDIDATES` answers to each of `count` held-out prompts."""
    rng = Random(f"{seed}/held")
    asked = [p for p in prompts(world(), count, seed, only="eval") for _ in range(CANDIDATES)]
    said = [draw(prompt, EARLIER_ASSISTANT, rng) for prompt in asked]
    worth = np.array([utility(*each) for each in zip(asked, said, strict=True)])
    return Held(alone(asked, said), worth.reshape(-1, CANDIDATES))


def alone(asked: Sequence[str], said: Sequence[str]) -> sparse.csr_array:
    """[answers, columns] features of single answers: their difference from none at all."""
    items = [
        table.Item([{"role": "user", "content": prompt}], answer, "", "eval", "")
        for prompt, answer in zip(asked, said, strict=True)
    ]
    return opinion.features(items)


def reward(
    lines: Sequence[Mapping[str, Any]], ratings: table.Ratings, features: sparse.csr_array
) -> opinion.Model:
    """The reward model that pairs.jsonl trains; features: [items, columns]."""
    place = {texts(item._asdict()): k for k, item in enumerate(ratings.items)}
    rows = [place[texts(line)] for line in lines]
    p, weight = (np.array([line[name] for line in lines], np.float64) for name in ("p", "weight"))
    return opinion.fit(features[rows], p, weight)


def accuracy(model: opinion.Model, held: Held) -> float:
    """Share of clean held-out pairs, two answers to one prompt, that the model orders rightly."""
    score = model.score(held.features).reshape(held.utility.shape)
    i, j = np.triu_indices(held.utility.shape[1], 1)
    truth = held.utility[:, i] - held.utility[:, j]
    right = np.sign(score[:, i] - score[:, j]) == np.sign(truth)
    return float(right[np.abs(truth) > 1e-9].mean())


def picked(model: opinion.Model, held: Held, n: int) -> float:
    """True utility of the answer that the model likes best of n."""
    score = model.score(held.features).reshape(held.utility.shape)
    parts = [slice(start, start + n) for start in range(0, held.utility.shape[1], n)]
    rows = np.arange(len(score))
    return float(np.mean([held.utility[:, part][rows, score[:, part].argmax(1)] for part in parts]))


def texts(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """What makes two lines one item."""
    return item["prompt"][0]["content"], item["a"], item["b"]


@lru_cache(maxsize=1)
def world() -> Settings:
    """The shipped settings with this split."""
    return SETTINGS.model_copy(update={"split": SPLIT})


def _dealt(
    work: Sequence[Pair], plan: Plan, people: Sequence[Rater], rng: Random
) -> Iterable[tuple[Rater, Item, dict[str, Any]]]:
    for prompt, one, other in work:
        item = Item(prompt, (one, other), first=rng.choice((0, 1)))
        wanted = plan.together if rng.random() < plan.overlap else 1
        for who in rng.sample(people, min(wanted, len(people))):
            yield who, item, {}
    banks = bank("train", SPLIT)
    for who in people:
        for checks, most in zip(banks, plan.checks, strict=True):
            for check in rng.sample(checks, min(most, len(checks))):
                known = {"anchor": True} if check.gold is None else {"gold": check.gold}
                yield who, check.item, known


def _row(who: Rater, item: Item, marks: Mapping[str, Any], rng: Random) -> Row:
    return {
        "kind": "comparison", "prompt": item.prompt, "responses": list(item.answers),
        "choice": choose(who, item, rng), "rater": who.name, "region": who.region,
        "position": item.first, "seconds": round(who.pace * rng.lognormvariate(0.0, 0.35), 1),
        **marks,
    }  # fmt: skip


def _faulty(row: Row, fault: Fault | None, number: int, rng: Random) -> int | str:
    choice: int | str = row["choice"]
    if fault is None or number < fault.since or rng.random() >= fault.share:
        return choice
    match fault.kind:
        case "random":
            return rng.choice((0, 1))
        case "fixed":
            return int(row["position"])
        case _:
            return choice if choice == "tie" else 1 - int(choice)


def _time(number: int, place: int) -> str:
    day, second = divmod(place * 20, 86_400)
    hour, second = divmod(second, 3600)
    return f"2026-{number:02d}-{day + 1:02d}T{hour:02d}:{second // 60:02d}:{second % 60:02d}Z"
