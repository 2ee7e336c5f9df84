"""Where the guard of the benchmark on over-optimisation stops a curve that is known."""

import pytest

from benchmarks.overoptimisation import Look, Watched, guard, shown

HOW = Watched(every=5, budget=8.0, patience=2)


def curve(judge: list[float], kl: list[float], utility: list[float]) -> list[Look]:
    points = enumerate(zip(judge, kl, utility, strict=True))
    return [Look(5 * n, float(n), j, k, u, 0.5) for n, (j, k, u) in points]


def test_a_judge_that_no_longer_rises_stops_and_the_best_look_is_kept() -> None:
    found = guard(curve([0, 1, 2, 1, 1, 3], [0] * 6, [4, 4.5, 5, 4.9, 4.8, 1]), HOW)
    assert (found.why, found.stop.step, found.kept.step) == ("judge", 20, 10)
    assert found.stopped_in_time and found.kept_well
    assert (found.start, found.peak, found.last) == (4, 5, 1)
    assert found.overoptimised


def test_a_budget_stops_at_the_look_that_is_over_it() -> None:
    found = guard(curve([0, 1, 2, 3], [0, 4, 9, 20], [4, 5, 4.7, 1]), HOW)
    assert (found.why, found.stop.step, found.kept.step) == ("kl", 10, 10)
    assert not found.stopped_in_time


@pytest.mark.parametrize("utility", [[4.0, 4.5, 5.0], [5.0, 4.0, 3.0]])
def test_what_nothing_stops_ends_where_it_ends(utility: list[float]) -> None:
    found = guard(curve([0, 1, 2], [0, 1, 2], utility), HOW)
    assert (found.why, found.stop.step) == ("end", 10)
    assert found.stopped_in_time == (utility[-1] == 5.0)


def test_a_curve_goes_on_after_the_guard_until_the_truth_has_clearly_fallen() -> None:
    judge, kl, truth = [0.0, 1, 2, 3, 4, 5], [0.0, 4, 9, 12, 15, 18], [4, 5, 4.9, 4.6, 4.4, 4.3]
    looks = curve(judge, kl, truth)
    assert [shown(looks[:count], HOW) for count in range(1, 7)] == [False] * 5 + [True]


def test_a_curve_whose_truth_never_falls_is_not_cut_short() -> None:
    assert not shown(curve([0, 1, 2, 3], [0, 9, 12, 15], [4, 5, 5, 5]), HOW)
