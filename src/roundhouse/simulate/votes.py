"""Votes without texts: a pool of raters as numbers, whose truth, faults and changes are known.

The test bench of the rater statistics. Item i has a difference of worth d_i between its two
answers, drawn from a normal distribution; rater j names the better answer with probability

    lapse_j / 2 + (1 - lapse_j) sigmoid(sharpness_j d_i)

so that items differ in difficulty, raters in skill, and most mistakes fall on close calls. The
constants make two raters agree in 74 of 100 votes. Check items (`gold`) are easy; `anchors` are
ordinary items of a fixed bank that comes back in every round.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters import table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Log-odds a unit of worth for the middle rater, and the spread of its logarithm over raters.
SHARPNESS, SHARPNESS_SPREAD = 1.7, 0.25
#: Standard deviation of the difference of worth: gives agreement 0.74.
SPREAD = 1.55
#: Largest share of choices that a rater makes without looking.
LAPSE = 0.06
#: Difference of worth on check items.
EASY = 2.4
#: A week's seconds, the distance of rounds; seconds a comparison, and its spread.
WEEK, PACE, PACE_SPREAD = 604_800.0, 32.0, 0.5

Kind = Literal["flip", "random", "fixed", "collude", "taste"]


class Pool(NamedTuple):
    """Who rates how much in a round.

    Attributes:
        raters: how many people.
        votes: ordinary votes of each in a round, on average.
        overlap: share of the items that `together` people see; one person sees the rest.
        together: people on an item that overlaps.
        gold: check items of each, drawn from as many as anchors.
        anchors: items of the bank that each rates again in every round.
        bank: anchors in the bank.
        regions: the raters are spread evenly over so many.
    """

    raters: int = 50
    votes: int = 200
    overlap: float = 0.3
    together: int = 3
    gold: int = 30
    anchors: int = 20
    bank: int = 200
    regions: int = 1


class Fault(NamedTuple):
    """What some raters do wrong, and since when.

    Attributes:
        raters: their numbers, from 0.
        kind: `flip` turns a share of their choices; `random` chooses by a coin, `fixed` the answer
            shown first, `collude` what the others of the group choose, whatever the item, each in
            a share of the votes; `taste` mixes so much of a worth of their own into the truth.
        share: of their votes, or of the worth.
        since: first round, from 1.
        after: share of that round's votes given before it begins.
    """

    raters: Sequence[int]
    kind: Kind
    share: float = 1.0
    since: int = 1
    after: float = 0.0


class Votes(NamedTuple):
    """A tidy ratings table, and what it cannot show.

    Attributes:
        votes: columns of `raters.table.COLUMNS`; raters are `r000` on, regions `a` on.
        truth: [items] the better answer, 0 or 1.
        faulty: [votes] whether a fault had begun for this vote's rater.
    """

    votes: pd.DataFrame
    truth: Ints
    faulty: NDArray[np.bool_]


class _Items(NamedTuple):
    """worth: [items] first answer's less second's; own: [items] the same in a group's own taste;
    key: [items] what a colluding group agreed on."""

    worth: Floats
    own: Floats
    key: Ints


def draw(
    pool: Pool,
    rounds: int,
    seed: int,
    faults: Sequence[Fault] = (),
    harder: Mapping[int, float] | None = None,
) -> Votes:
    """The votes of `rounds` rounds, in the order of time.

    Args:
        pool: who rates how much.
        rounds: how many, numbered from 1.
        seed: the same seed, the same votes; faults change no other draw.
        faults: what goes wrong.
        harder: round to a factor on the difference of worth of its ordinary items (0.5: harder).
    """
    rng = np.random.default_rng([seed, 1])
    raters = _raters(pool, rng)
    fixed = _items(rng, 2 * pool.bank)
    fixed.worth[: pool.bank] = np.sign(fixed.worth[: pool.bank]) * EASY
    parts, items, start = [], [fixed], 2 * pool.bank
    for number in range(1, rounds + 1):
        fresh, frame = _round(pool, number, start, rng, (harder or {}).get(number, 1.0))
        items.append(fresh)
        parts.append(frame)
        start += len(fresh.worth)
    frame = pd.concat(parts, ignore_index=True)
    every = _Items(*(np.concatenate(columns) for columns in zip(*items, strict=True)))
    return _chosen(frame, every, raters, pool, faults, np.random.default_rng([seed, 2]))


class Raters(NamedTuple):
    """[raters] each: log-odds a unit of worth; share of choices made without looking; seconds of a
    usual comparison; number of the region."""

    sharpness: Floats
    lapse: Floats
    pace: Floats
    regions: Ints


def raters_of(pool: Pool, seed: int) -> Raters:
    """The raters that `draw` draws first with this seed."""
    return _raters(pool, np.random.default_rng([seed, 1]))


def _raters(pool: Pool, rng: np.random.Generator) -> Raters:
    return Raters(
        SHARPNESS * rng.lognormal(0.0, SHARPNESS_SPREAD, pool.raters),
        rng.uniform(0.0, LAPSE, pool.raters),
        PACE * rng.lognormal(0.0, 0.2, pool.raters),
        np.arange(pool.raters) % pool.regions,
    )


def _items(rng: np.random.Generator, count: int) -> _Items:
    return _Items(
        rng.normal(0.0, SPREAD, count),
        rng.normal(0.0, SPREAD, count),
        rng.integers(0, 2, count),
    )


def _round(
    pool: Pool, number: int, start: int, rng: np.random.Generator, factor: float
) -> tuple[_Items, pd.DataFrame]:
    count = round(pool.raters * pool.votes / (1 + pool.overlap * (pool.together - 1)))
    shared = round(pool.overlap * count)
    fresh = _items(rng, count)
    fresh.worth[:] *= factor
    parts = [
        _assigned(rng, np.arange(shared), pool.raters, pool.together),
        _assigned(rng, np.arange(shared, count), pool.raters, 1),
    ]
    item = np.concatenate([codes for codes, _ in parts]) + start
    rater = np.concatenate([who for _, who in parts])
    for first, each in ((0, pool.gold), (pool.bank, pool.anchors)):
        chosen = _drawn(rng, pool.raters, pool.bank, min(each, pool.bank))
        item = np.concatenate([item, chosen.ravel() + first])
        rater = np.concatenate([rater, np.repeat(np.arange(pool.raters), chosen.shape[1])])
    order = rng.permutation(len(item))
    at = WEEK * number + np.sort(rng.uniform(0.0, WEEK / 2, len(item)))
    frame = pd.DataFrame({"item": item[order], "rater": rater[order], "at": at, "round": number})
    return fresh, frame.assign(position=rng.integers(0, 2, len(item)))


def _assigned(rng: np.random.Generator, items: Ints, raters: int, each: int) -> tuple[Ints, Ints]:
    who = _drawn(rng, len(items), raters, min(each, raters))
    return np.repeat(items, who.shape[1]), who.ravel()


def _drawn(rng: np.random.Generator, rows: int, size: int, each: int) -> Ints:
    """[rows, each] distinct numbers below `size` in each row."""
    if each == 1:
        return rng.integers(0, size, (rows, 1))
    if each in (0, size):
        return np.tile(np.arange(each), (rows, 1))
    return np.argpartition(rng.random((rows, size)), each, axis=1)[:, :each]


def _chosen(
    frame: pd.DataFrame,
    items: _Items,
    raters: Raters,
    pool: Pool,
    faults: Sequence[Fault],
    rng: np.random.Generator,
) -> Votes:
    item, rater = frame["item"].to_numpy(), frame["rater"].to_numpy()
    size = len(frame)
    point, lapse, coin, struck = rng.random((4, size))
    worth = items.worth[item]
    faulty = np.zeros(size, dtype=bool)
    hit = []
    for fault in faults:
        begun = _begun(frame, fault)
        faulty |= begun
        hit.append(begun & (struck < fault.share))
        if fault.kind == "taste":
            worth = np.where(
                begun, (1 - fault.share) * worth + fault.share * items.own[item], worth
            )
    odds = raters.sharpness[rater] * worth
    right = 1 / (1 + np.exp(-odds))
    first = np.where(lapse < raters.lapse[rater], coin < 0.5, point < right)
    label = np.where(first, 0, 1)
    for fault, where in zip(faults, hit, strict=True):
        said = {
            "flip": 1 - label,
            "random": (coin < 0.5).astype(np.int64),
            "fixed": frame["position"].to_numpy(),
            "collude": items.key[item],
            "taste": label,
        }[fault.kind]
        label = np.where(where, said, label)
    truth = np.where(items.worth > 0, 0, 1)
    names = np.array([f"r{number:03d}" for number in range(pool.raters)])
    regions = np.array([chr(ord("a") + number) for number in raters.regions])
    votes = frame.assign(
        rater=names[rater],
        label=label,
        region=regions[rater],
        gold=np.where(item < pool.bank, truth[item], -1),
        anchor=(item >= pool.bank) & (item < 2 * pool.bank),
        seconds=raters.pace[rater] * rng.lognormal(0.0, PACE_SPREAD, size),
    )
    return Votes(table.tidy(votes), truth, faulty)


def _begun(frame: pd.DataFrame, fault: Fault) -> NDArray[np.bool_]:
    """[votes] True where the fault had begun for this rater."""
    progress = (frame["at"] / WEEK - frame["round"]) * 2
    late = (frame["round"] > fault.since) | (
        (frame["round"] == fault.since) & (progress >= fault.after)
    )
    return np.asarray(late & frame["rater"].isin(list(fault.raters)), dtype=bool)
