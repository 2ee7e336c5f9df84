"""Figures of a reward model on labelled pairs."""

import math

import numpy
import pytest

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
