"""Where the guard of the benchmark on over-optimisation stops a curve that is known."""

import pytest

from benchmarks.overoptimisation import Look, guard


def curve(judge: list[float], kl: list[float], utility: list[float]) -> list[Look]:
    points = enumerate(zip(judge, kl, utility, strict=True))
    return [Look(5 * n, float(n), j, k, u, 0.5) for n, (j, k, u) in points]


def test_a_judge_that_no_longer_rises_stops_and_the_best_look_is_kept() -> None:
    found = guard(curve([0, 1, 2, 1, 1, 3], [0] * 6, [4, 4.5, 5, 4.9, 4.8, 1]), 8.0, 2)
    assert (found.why, found.stop.step, found.kept.step) == ("judge", 20, 10)
    assert found.stopped_in_time and found.kept_well
    assert (found.peak, found.last) == (5, 1)


def test_a_budget_stops_at_the_look_that_is_over_it() -> None:
    found = guard(curve([0, 1, 2, 3], [0, 4, 9, 20], [4, 5, 4.7, 1]), 8.0, 2)
    assert (found.why, found.stop.step, found.kept.step) == ("kl", 10, 10)
    assert not found.stopped_in_time


@pytest.mark.parametrize("utility", [[4.0, 4.5, 5.0], [5.0, 4.0, 3.0]])
def test_what_nothing_stops_ends_where_it_ends(utility: list[float]) -> None:
    found = guard(curve([0, 1, 2], [0, 1, 2], utility), 8.0, 2)
    assert (found.why, found.stop.step) == ("end", 10)
    assert found.stopped_in_time == (utility[-1] == 5.0)
