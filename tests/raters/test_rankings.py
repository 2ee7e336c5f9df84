"""Rankings: n answers give n (n - 1) / 2 votes, which accuse nobody more than n - 1 would."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from roundhouse.raters import cusum, drift, habits, peers, spam, table
from roundhouse.raters.verdict import RaterVerdict, judge_raters
from roundhouse.settings import RaterSettings

NOISE = 0.6


def ranked(
    answers: int, prompts: int, rounds: int, seed: int, flips: float = 0.0, best_first: bool = False
) -> pd.DataFrame:
    """Rankings of 12 raters as the table has them: three raters a prompt, `prompts` a rater and
    round, mistakes where answers are near each other. In the last round r00 turns round the ranking
    of a share `flips` of their prompts."""
    rng, rows, raters = np.random.default_rng(seed), list[tuple[object, ...]](), 12
    share, at = 2 / answers, 0
    for number in range(1, rounds + 1):
        for prompt in range(raters * prompts // 3):
            worth, length, side = (rng.normal(size=answers) for _ in range(3))
            for rater in rng.permutation(raters)[:3]:
                seen = worth + NOISE * rng.normal(size=answers)
                seconds = rng.lognormal(3.0, 0.5, size=answers)
                if rater == 0 and number == rounds and rng.random() < flips:
                    seen = -seen
                order = np.argsort(-seen) if best_first else rng.permutation(answers)
                for one, other in combinations(order, 2):
                    first, second = (one, other) if side[one] < side[other] else (other, one)
                    at += 1
                    rows.append((
                        f"{number} {prompt} {first} {second}", f"r{rater:02d}",
                        int(seen[second] > seen[first]), number, float(at), share, "rating",
                        int(length[second] > length[first]), seconds[one],
                    ))  # fmt: skip
    names = ["item", "rater", "label", "round", "at", "share", "kind", "longer", "seconds"]
    return table.tidy(pd.DataFrame(rows, columns=names))


def verdicts(votes: pd.DataFrame, settings: RaterSettings) -> dict[str, RaterVerdict]:
    regions = dict.fromkeys(votes["rater"], "")
    return {one.rater: one for one in judge_raters(votes, settings, regions)}


@pytest.mark.parametrize("best_first", [True, False])
def test_honest_raters_who_rank_are_neither_watched_nor_suspended(
    best_first: bool, rater_settings: RaterSettings
) -> None:
    votes = ranked(answers=7, prompts=20, rounds=1, seed=4, best_first=best_first)
    found = verdicts(votes, rater_settings)
    assert {name: one.newest.evidence for name, one in found.items() if one.state != "ok"} == {}


def test_a_rater_who_turns_rankings_round_is_still_found(rater_settings: RaterSettings) -> None:
    votes = ranked(answers=4, prompts=12, rounds=2, seed=4, flips=0.5)
    found = verdicts(votes, rater_settings)
    assert found["r00"].state == "watch" and found["r00"].since == 2
    assert "votes changed" in found["r00"].newest.evidence[0]
    assert {one.state for name, one in found.items() if name != "r00"} == {"ok"}


def test_rankings_alarm_nobody_who_did_not_change() -> None:
    """Forty-eight rater-rounds; a tenth of them alarmed while each pair counted as a vote."""
    least, alarms = 1.0, 0
    for seed in range(4):
        votes = ranked(answers=7, prompts=30, rounds=2, seed=seed)
        now, before = votes[votes["round"] == 2], votes[votes["round"] == 1]
        least = min(least, *(one.p for one in drift.drifts(now, before).values()))
        alarms += sum(one.alarm is not None for one in cusum.paths(now, before).values())
    assert least > drift.ALARM_P
    assert alarms == 0


def test_a_ranking_of_n_answers_is_n_less_one_votes_wherever_votes_are_needed() -> None:
    """Sevenths do not sum to whole numbers exactly; a limit is met all the same."""
    votes = ranked(answers=7, prompts=6, rounds=2, seed=1)
    now, before = votes[votes["round"] == 2], votes[votes["round"] == 1]
    size = {
        str(rater): min(6 * int((part["rater"] == rater).sum()) // 21 for part in (now, before))
        for rater in votes["rater"].unique()
    }
    limit = sorted(size.values())[len(size) // 2]
    found = drift.drifts(now, before, least=limit)
    assert set(found) == {rater for rater, count in size.items() if count >= limit}
    mine = now[now["rater"] == "r00"]
    assert habits.habits(now)["r00"].longer.votes == 6 * len(mine) // 21


def test_a_vote_in_parts_is_one_vote() -> None:
    rng, size = np.random.default_rng(3), 60
    rater = rng.integers(0, 2, size)
    expected, agree = rng.uniform(0.6, 0.95, size), rng.random(size) < 0.8

    def told(times: int) -> peers.Evidence:
        each, none = np.repeat(np.arange(size), times), np.zeros(size * times, np.int64)
        return peers.Evidence(
            none, ["a", "b"], rater[each], none, none.astype(bool), agree[each], expected[each],
            np.full(len(each), 1 / times),
        )  # fmt: skip

    def sums(one: peers.Evidence) -> NDArray[np.float64]:
        gain = cusum.gains(one, np.ones(len(one.row), bool))
        return np.array([gain[one.rater == k].sum() for k in range(2)])

    whole, parts = told(1), told(7)
    assert parts.votes.tolist() == whole.votes.tolist()
    for one, other in zip(peers.excess_flips(whole), peers.excess_flips(parts), strict=True):
        assert one == pytest.approx(other)
    assert sums(whole) == pytest.approx(sums(parts))


def test_pairs_of_a_ranking_have_no_runs_and_single_votes_beside_them_have() -> None:
    votes = ranked(answers=5, prompts=12, rounds=1, seed=1)
    found = habits.habits(votes)["r00"]
    assert not found.longest.known and not found.runs.known
    alone = votes.groupby(["rater", "item"]).head(1).groupby("rater").head(40)
    alone = alone.assign(share=1.0, kind="comparison", at=alone["at"] + votes["at"].max())
    lazy = alone.assign(label=np.where(alone["rater"] == "r00", 1, alone["label"]))
    mixed = habits.habits(pd.concat([votes, lazy], ignore_index=True))["r00"]
    assert mixed.longest.figure == mixed.longest.votes == 40
    assert mixed.longest.p < 1e-6


def test_what_is_known_of_a_rater_who_ranks_is_known_as_from_fewer_votes(
    rater_settings: RaterSettings,
) -> None:
    votes = ranked(answers=7, prompts=12, rounds=1, seed=2)
    pairs = votes.assign(share=1.0)
    ratio = spam.skill(votes).error / spam.skill(pairs).error
    assert ratio == pytest.approx(np.sqrt(7 / 2))
    spans = (
        [one.newest.accuracy for one in verdicts(each, rater_settings).values()]
        for each in (votes, pairs)
    )
    for one, other in zip(*spans, strict=True):
        assert one.high - one.low > 1.5 * (other.high - other.low)
