"""Items of different difficulty: the fit against brute force, symmetries, calibration, opinions."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from roundhouse.raters import worth
from roundhouse.raters.reliability import dawid_skene
from roundhouse.simulate import votes as simulated
from roundhouse.simulate.votes import Fault, Pool

Floats = NDArray[np.float64]

WORK = Pool(anchors=0, gold=0)


def small(seed: int, ties: float = 0.2) -> pd.DataFrame:
    """Some 300 votes of five raters, some of them ties, on overlapping items."""
    drawn = simulated.draw(WORK._replace(raters=5, votes=60, overlap=1.0), 1, seed).votes
    tied = np.random.default_rng(seed).random(len(drawn)) < ties
    return drawn.assign(label=np.where(tied, 2, drawn["label"]))


def likelihood(votes: pd.DataFrame, sharpness: Floats, ties: Floats) -> float:
    """The log likelihood with the worths summed out, vote by vote."""
    names = sorted(votes["rater"].unique())
    total = 0.0
    for _, group in votes.groupby("item"):
        terms = []
        for point in worth.GRID:
            term = math.exp(-(point**2) / 2)
            for rater, label in zip(group["rater"], group["label"], strict=True):
                j = names.index(rater)
                odds = [
                    math.exp(sharpness[j] * point / 2),
                    math.exp(-sharpness[j] * point / 2),
                    ties[j],
                ]
                term *= odds[label] / sum(odds)
            terms.append(term)
        total += math.log(math.fsum(terms))
    return total


def test_the_fit_is_a_maximum_of_likelihood_and_prior() -> None:
    """Moving any one sharpness or tie parameter lowers it, against a sum by brute force."""
    votes = small(3)
    state = worth._State(worth._data(votes, None))
    state.run(1e-9, 800)

    def value(sharpness: Floats, ties: Floats) -> float:
        away = (sharpness - state.centre) ** 2 / state.variance
        far = (ties - state.usual) ** 2
        return likelihood(votes, sharpness, np.exp(ties)) - float(away.sum() + far.sum()) / 2

    top = value(state.sharpness, state.ties)
    for j in range(5):
        for step in (-0.05, 0.05):
            move = np.zeros(5)
            move[j] = step
            assert value(state.sharpness + move, state.ties) < top
            assert value(state.sharpness, state.ties + move) < top


def test_information_is_the_mean_of_the_squared_slope() -> None:
    """Of one vote, given its item's others, by brute force over labels and worths."""
    votes = small(4)
    state = worth._State(worth._data(votes, None))
    state.run(1e-3, 100)
    chance = state._chances()
    names = state.data.names
    told = np.zeros(5)
    for _, group in votes.groupby("item"):
        for k in range(len(group)):
            rest = np.exp(-(worth.GRID**2) / 2)
            for at, (rater, label) in enumerate(zip(group["rater"], group["label"], strict=True)):
                if at != k:
                    rest = rest * chance[names.index(rater), :, label]
            rest = rest / rest.sum()
            j = names.index(group["rater"].iloc[k])
            lean = chance[j, :, 0] - chance[j, :, 1]
            likely = np.array([rest @ chance[j, :, label] for label in (0, 1)])
            slope = np.array(
                [
                    rest @ (chance[j, :, label] * (own - lean / 2) * worth.GRID)
                    for label, own in ((0, 0.5), (1, -0.5))
                ]
            )
            # Of naming the first, given that one is named.
            share = likely[0] / likely.sum()
            by = (slope[0] - share * slope.sum()) / likely.sum()
            told[j] += likely.sum() * by**2 / (share * (1 - share))
    assert state.information() == pytest.approx(told, rel=1e-9)


def test_exchanging_the_answers_exchanges_the_result() -> None:
    votes = small(5)
    turned = votes.assign(label=votes["label"].map({0: 1, 1: 0, 2: 2}))
    one, other = worth.fit(votes), worth.fit(turned)
    assert one.first == pytest.approx(1 - other.first, abs=1e-9)
    assert one.worth == pytest.approx(-other.worth, abs=1e-9)
    assert one.sharpness == pytest.approx(other.sharpness, abs=1e-9)


def test_a_vote_of_weight_two_is_two_votes() -> None:
    """In what a fit takes from the votes: the items' posteriors and the raters' next step."""
    votes = small(6)
    doubled = pd.concat([votes, votes[votes["rater"] == "r002"]])
    heavy = votes.assign(weight=np.where(votes["rater"] == "r002", 2.0, 1.0))
    one, other, plain = (worth._State(worth._data(v, None)) for v in (doubled, heavy, votes))
    assert one.soft == pytest.approx(other.soft, abs=1e-12)
    assert np.abs(one.soft - plain.soft).max() > 0.01
    for state in (one, other):
        state._maximise(turn=False)
    assert one.sharpness == pytest.approx(other.sharpness, abs=1e-12)


def test_chances_of_the_better_answer_are_calibrated() -> None:
    """Among answers that are the better one with chance p, a share p is; Dawid and Skene's model,
    which takes all items for equally hard, says too much of it."""
    told, true, claimed = [], [], []
    for seed in range(4):
        drawn = simulated.draw(WORK._replace(overlap=1.0), 1, seed)
        found = worth.fit(drawn.votes)
        told.append(np.maximum(found.first, 1 - found.first))
        true.append((found.first > 0.5) == (drawn.truth[found.items] == 0))
        soft = dawid_skene(drawn.votes, labels=2, symmetric=True).soft
        claimed.append(soft.max(axis=1))
    sure, right = np.concatenate(told), np.concatenate(true)
    for low, high in ((0.6, 0.8), (0.9, 1.0)):
        chosen = (sure > low) & (sure <= high)
        assert chosen.sum() > 1000
        assert abs(sure[chosen].mean() - right[chosen].mean()) < 0.03
    assert np.concatenate(claimed).mean() - right.mean() > 0.04


def test_accuracies_are_near_and_their_intervals_cover() -> None:
    errors, covered = [], []
    for seed in range(4):
        drawn = simulated.draw(WORK, 1, seed, [Fault(range(5), "random")])
        found = worth.fit(drawn.votes)
        asked = simulated.draw(
            WORK._replace(votes=20_000, overlap=0.0), 1, seed, [Fault(range(5), "random")]
        )
        right = asked.votes["label"].to_numpy() == asked.truth[asked.votes["item"]]
        accuracy = asked.votes.assign(right=right).groupby("rater")["right"].mean().to_numpy()
        errors.append(np.abs(found.accuracy - accuracy).mean())
        spans = found.interval(0.95)
        covered += [one.low <= a <= one.high for one, a in zip(spans, accuracy, strict=True)]
    assert np.mean(errors) < 0.04
    assert np.mean(covered) > 0.9


def test_single_votes_tell_nothing_of_a_rater() -> None:
    found = worth.fit(
        simulated.draw(WORK._replace(overlap=0.0), 1, 1, [Fault([0], "random")]).votes
    )
    assert np.isinf(found.error).all()
    assert not any(one.known for one in found.interval(0.95))
    assert np.ptp(found.accuracy) < 1e-3


def test_an_opinion_lends_strength_to_single_votes_and_noise_lends_none() -> None:
    bad = range(12)
    drawn = simulated.draw(WORK._replace(overlap=0.0), 1, 3, [Fault(bad, "random")])
    items = np.unique(drawn.votes["item"])
    rng = np.random.default_rng(5)
    side = np.where(drawn.truth[items] == 0, 1.0, -1.0)
    # An opinion that names the better answer in about 76 of 100 items.
    told = pd.Series(
        side * np.abs(rng.normal(size=len(items))) + rng.normal(size=len(items)), items
    )
    assert 0.72 < ((told > 0) == (side > 0)).mean() < 0.8
    plain, helped = worth.fit(drawn.votes), worth.fit(drawn.votes, told)
    assert helped.trust > 0.2
    assert helped.accuracy[12:].mean() - helped.accuracy[:12].mean() > 0.15
    right = [((one.first > 0.5) == (side > 0)).mean() for one in (plain, helped)]
    assert right[1] > right[0] + 0.04
    noise = pd.Series(rng.normal(size=len(items)), items)
    useless = worth.fit(drawn.votes, noise)
    assert abs(useless.trust) < 0.05
    assert np.abs(useless.first - plain.first).max() < 0.06


def test_ties_say_that_answers_are_near_each_other() -> None:
    rows = [
        (item, f"r{rater}", label)
        for item, labels in enumerate([(0, 0, 0)] * 30 + [(1, 1, 1)] * 30 + [(2, 2, 0)] * 30)
        for rater, label in enumerate(labels)
    ]
    found = worth.fit(pd.DataFrame(rows, columns=["item", "rater", "label"]))
    assert found.worth[0] > 1 and found.worth[30] < -1
    assert abs(found.worth[60]) < 0.5 * found.worth[0]


def test_epochs_borrow_from_their_person_and_a_change_stays_in_its_own() -> None:
    drawn = simulated.draw(WORK._replace(votes=100), 3, 7, [Fault(range(5), "flip", 0.5, since=3)])
    epoch = drawn.votes["rater"] + "@" + drawn.votes["round"].astype(str)
    votes = drawn.votes.assign(rater=epoch)
    alone = worth.fit(votes)
    found = worth.fit(votes.assign(person=drawn.votes["rater"]))
    accuracy = pd.Series(found.accuracy, found.raters)
    changed, before = accuracy.filter(regex="r00[0-4]@3"), accuracy.filter(regex="r00[0-4]@[12]")
    assert changed.mean() < before.mean() - 0.1
    asked = simulated.draw(WORK._replace(votes=20_000, overlap=0.0), 1, 7)
    right = asked.votes["label"].to_numpy() == asked.truth[asked.votes["item"]]
    true = asked.votes.assign(right=right).groupby("rater")["right"].mean()
    steady = [name for name in found.raters if name[:4] > "r004"]
    errors = [
        np.mean(
            [
                abs(a - true[n[:4]])
                for n, a in zip(one.raters, one.accuracy, strict=True)
                if n in steady
            ]
        )
        for one in (alone, found)
    ]
    assert errors[1] < errors[0]


def test_variances_of_persons_and_epochs_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    person = np.repeat(np.arange(60), 5)
    error = np.full(300, 0.2)
    for between, within in ((1.0, 0.05), (0.1, 0.8)):
        value = rng.normal(2.0, between**0.5, 60)[person] + rng.normal(0, within**0.5, 300)
        seen = value + rng.normal(0, error**0.5)
        found = worth.spread(seen, error, person)
        assert abs(found.pool - 2.0) < 0.3
        assert within / 2 < found.within < 2 * within
        centre = pd.Series(value).groupby(person).mean().to_numpy()
        assert np.abs(found.centre[::5] - centre).mean() < 0.35
    alone = worth.spread(seen, error, None)
    assert 0.4 < alone.within < 1.8 and np.ptp(alone.centre) == 0


def test_the_likelihood_of_variances_is_that_of_the_normal_distribution() -> None:
    """Against the density of the joint normal distribution, up to what both pairs share."""
    rng = np.random.default_rng(2)
    person, error = np.array([0, 0, 0, 1, 1, 2]), rng.uniform(0.1, 0.5, 6)
    value = rng.normal(1.0, 1.0, 6)

    def direct(between: float, within: float) -> float:
        together = between * (person[:, None] == person[None, :])
        covariance = together + np.diag(within + error)
        inverse = np.linalg.inv(covariance)
        one = np.ones(6)
        start, loose = worth._SHARPNESS, worth._POOL
        pool = (one @ inverse @ value + start / loose) / (one @ inverse @ one + 1 / loose)
        density = multivariate_normal(np.full(6, pool), covariance).logpdf(value)
        density -= (pool - start) ** 2 / loose / 2
        prior = worth._expected(between, worth._BETWEEN) + worth._expected(within, worth._WITHIN)
        return float(density) + prior / 2

    pairs = [(0.3, 0.05), (1.5, 0.7)]
    one, other = (worth._tried(value, error, person, *pair)[0] for pair in pairs)
    assert one - other == pytest.approx(direct(*pairs[0]) - direct(*pairs[1]), abs=1e-9)


def test_priors_that_go_to_and_fro_end_the_fit() -> None:
    """Equally hard items: two variances of the grid alternate; the fit ends all the same."""
    rng = np.random.default_rng(1)
    item = np.repeat(np.arange(4000), 3)
    rater = (rng.integers(0, 60, 4000)[:, None] + np.arange(3)) % 60
    right = rng.random(len(item)) < rng.uniform(0.7, 0.95, 60)[rater.ravel()]
    names = np.array([f"r{number:02d}" for number in range(60)])[rater.ravel()]
    votes = pd.DataFrame({"item": item, "rater": names, "label": (~right).astype(np.int64)})
    assert worth.fit(votes, most=400).iterations < 100


def test_many_votes_that_nobody_shares_do_not_unsettle_a_rater() -> None:
    """Their steps are slow, and were once read as far from where the votes alone would be."""
    pool = Pool(raters=60, votes=60, overlap=0.3, gold=0, anchors=0)
    shared = simulated.draw(pool, 1, 1).votes[["item", "rater", "label"]]
    label = np.random.default_rng(1).integers(0, 2, 2000)
    own = pd.DataFrame({"item": np.arange(2000) + 10**6, "rater": "r007", "label": label})
    before, after = (
        worth.fit(votes.assign(person=votes["rater"])).accuracy[7]
        for votes in (shared, pd.concat([shared, own], ignore_index=True))
    )
    assert after == pytest.approx(before, abs=0.02)
