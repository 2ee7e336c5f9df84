"""How well reliability is known: error of accuracies, calibration of labels, single votes.

Compared: Dawid and Skene's model, which takes all items for equally hard, and the one of
`roundhouse.raters.worth`, in which they differ.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.raters.case import Case, Figure, share
from roundhouse.raters import reliability, worth
from roundhouse.simulate import votes as simulated
from roundhouse.simulate.votes import SPREAD, Fault, Pool

Floats = NDArray[np.float64]

WORK = Pool(gold=0, anchors=0)


def accuracies(replicates: int, seed: int) -> list[Figure]:
    """Mean absolute error of raters' accuracy: 2,000 votes each, then 200."""
    figures = []
    for votes, aim in ((2000, "<= 0.02"), (200, "")):
        errors: dict[str, list[float]] = {"Dawid-Skene": [], "worth": []}
        for number in range(max(2, replicates // (votes // 100))):
            pool = WORK._replace(votes=votes, overlap=1.0)
            drawn = simulated.draw(pool, 1, seed + number, [Fault(range(5), "random")])
            true = _true(pool, seed + number, range(5))
            dawid = reliability.dawid_skene(drawn.votes, labels=2, symmetric=True)
            errors["Dawid-Skene"].append(float(np.abs(dawid.accuracy - true).mean()))
            found = worth.fit(drawn.votes)
            errors["worth"].append(float(np.abs(found.accuracy - true).mean()))
        figures += [
            share(f"error of accuracy, {votes} votes each, {name}", found, aim)
            for name, found in errors.items()
        ]
    return figures


def calibration(replicates: int, seed: int) -> list[Figure]:
    """What a label's probability says, less how often it is right; 0 is calibrated."""
    gaps: dict[str, list[float]] = {}
    for number in range(replicates):
        drawn = simulated.draw(WORK._replace(overlap=1.0), 1, seed + number)
        items = np.unique(drawn.votes["item"])
        first = drawn.truth[items] == 0
        dawid = reliability.dawid_skene(drawn.votes, labels=2, symmetric=True).soft[:, 0]
        for name, said in (("Dawid-Skene", dawid), ("worth", worth.fit(drawn.votes).first)):
            split = _split(drawn.votes)
            for what, chosen in (("3 to 0", ~split), ("2 to 1", split)):
                sure, right = np.maximum(said, 1 - said), (said > 0.5) == first
                gap = float(sure[chosen].mean() - right[chosen].mean())
                gaps.setdefault(f"too sure, {what}, {name}", []).append(gap)
    return [share(name, values) for name, values in gaps.items()]


def borrowing(replicates: int, seed: int) -> list[Figure]:
    """Single votes, 12 of 50 raters by coin, and an opinion that is right on 73 of 100 items."""
    found: dict[str, list[float]] = {}
    for number in range(replicates):
        pool = WORK._replace(overlap=0.0)
        drawn = simulated.draw(pool, 1, seed + number, [Fault(range(12), "random")])
        items = np.unique(drawn.votes["item"])
        side = np.where(drawn.truth[items] == 0, 1.0, -1.0)
        rng = np.random.default_rng(seed + number)
        told = side * np.abs(rng.normal(size=len(items))) + rng.normal(size=len(items))
        for name, opinion in (
            ("none", None),
            ("real", pd.Series(told, items)),
            ("noise", pd.Series(rng.normal(size=len(items)), items)),
        ):
            one = worth.fit(drawn.votes, opinion)
            right = float(((one.first > 0.5) == (side > 0)).mean())
            apart = float(one.accuracy[12:].mean() - one.accuracy[:12].mean())
            found.setdefault(f"labels right, opinion {name}", []).append(right)
            found.setdefault(f"good less bad raters, opinion {name}", []).append(apart)
    return [share(name, values) for name, values in found.items()]


def _split(votes: pd.DataFrame) -> NDArray[np.bool_]:
    """[items] True where not all votes are equal."""
    labels = votes.groupby("item", sort=True)["label"]
    return np.asarray(labels.min() != labels.max())


def _true(pool: Pool, seed: int, random: range) -> Floats:
    """[raters] chance of naming the better answer of an ordinary item."""
    raters = simulated.raters_of(pool, seed)
    worths = np.abs(np.random.default_rng(0).normal(0.0, SPREAD, 20_000))
    right = 1 / (1 + np.exp(-raters.sharpness[:, None] * worths))
    chance = raters.lapse / 2 + (1 - raters.lapse) * right.mean(axis=1)
    chance[list(random)] = 0.5
    return np.asarray(chance)


CASES: list[Case] = [
    Case("accuracy of raters", accuracies),
    Case("calibration of labels", calibration),
    Case("single votes and an opinion", borrowing),
]
