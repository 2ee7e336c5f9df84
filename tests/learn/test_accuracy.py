"""Figures of a reward model on labelled pairs."""

import math

import numpy
import pytest
from scipy import stats

from roundhouse.learn import accuracy
from roundhouse.learn.accuracy import Bin


def test_correct_means_the_sign_of_the_label() -> None:
    margins = numpy.array([1.0, -1.0, 1.0, -1.0, 0.0, 2.0])
    labels = numpy.array([0.9, 0.9, 0.1, 0.1, 0.9, 0.5])
    found = accuracy.correct(margins, labels).tolist()
    assert found[:5] == [1.0, 0.0, 0.0, 1.0, 0.5]
    assert math.isnan(found[5])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random, covered = numpy.random.default_rng(0), 0
    for trial in range(100):
        # Ten pairs a prompt that stand or fall together: 60 independent prompts, not 600 pairs.
        values = numpy.repeat((random.random(60) < 0.7).astype(float), 10)
        groups = [str(index // 10) for index in range(600)]
        found = accuracy.mean_by_group(values, groups, draws=200, confidence=0.9, seed=trial)
        assert found is not None
        covered += found.low <= 0.7 <= found.high
    assert 80 <= covered <= 98


def test_undecided_pairs_do_not_count() -> None:
    values = numpy.array([1.0, numpy.nan, 0.0])
    found = accuracy.mean_by_group(values, ["a", "b", "c"], 50, 0.95, 0)
    assert found is not None
    assert found.value == 0.5
    assert accuracy.mean_by_group(numpy.array([numpy.nan]), ["a"], 50, 0.95, 0) is None


def test_calibration_bins_hold_every_pair() -> None:
    predicted = numpy.array([0.02, 0.08, 0.95, 1.0])
    bins = accuracy.calibration(predicted, numpy.array([0.0, 1.0, 1.0, 1.0]))
    assert [part.pairs for part in bins] == [2, 2]
    assert bins[0].predicted == pytest.approx(0.05)
    assert bins[0].observed == 0.5


def test_calibration_error_weighs_bins_by_their_pairs() -> None:
    bins = [Bin(0.2, 0.4, 30), Bin(0.9, 0.9, 10)]
    assert accuracy.expected_calibration_error(bins) == pytest.approx(0.15)


def test_rank_correlation_agrees_with_scipys() -> None:
    random = numpy.random.default_rng(5)
    for size in (3, 40):
        x = random.integers(0, 6, size).astype(float)
        y = x + random.normal(size=size)
        expected = stats.spearmanr(x, y).statistic
        assert accuracy.rank_correlation(x, y) == pytest.approx(expected)
    constant = numpy.ones(4)
    assert math.isnan(accuracy.rank_correlation(constant, numpy.arange(4.0)))
    assert math.isnan(accuracy.rank_correlation(numpy.array([]), numpy.array([])))


def test_confidence_is_that_of_the_predicted_winner() -> None:
    predicted = numpy.array([0.05, 0.97, 0.55, 0.5, 1.0, 0.41])
    right = numpy.array([1.0, 0.0, 1.0, 0.0, 1.0, numpy.nan])
    found = accuracy.by_confidence(predicted, right)
    assert [(part.low, part.high, part.pairs) for part in found] == [
        (0.5, pytest.approx(0.6), 2),
        (pytest.approx(0.9), 1.0, 3),
    ]
    assert [part.accuracy for part in found] == [0.5, pytest.approx(2 / 3)]
