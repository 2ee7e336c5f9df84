"""The archive and later rounds: what was promised, on the right side, the same again."""

import hashlib
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from roundhouse import params
from roundhouse.feedback import Row, on_panel, parse, prompt_key, side
from roundhouse.settings import Settings
from roundhouse.simulate import archive, truth
from roundhouse.simulate.answers import EARLIER_ASSISTANT, draw
from roundhouse.simulate.rating import Pair
from roundhouse.simulate.team import drifters, team
from roundhouse.simulate.world import tokens, understand, vocabulary

FROZEN = "09fb627df6a4ba494d592187a4612ce13de6a31b431a97fc891ec2acd2ffe180"
PARAMS = Path(__file__).parents[2] / "params.yaml"


def small(**changed: Any) -> Settings:
    """The shipped settings with a small archive."""
    loaded = params.load(PARAMS)
    block = {"archive_demonstrations": 300, "archive_pairs": 400, **changed}
    return loaded.model_copy(update={"simulate": loaded.simulate.model_copy(update=block)})


def drifting(first_round: int, share: float = 0.3, flip: float = 0.5) -> Settings:
    loaded = params.load(PARAMS).simulate.drift
    drift = loaded.model_copy(update={"round": first_round, "raters": share, "flip": flip})
    return small(drift=drift)


def some_pairs(count: int, seed: int) -> list[Pair]:
    rng = Random(seed)
    asked = archive.prompts(small(), count, seed)
    return [
        (prompt, draw(prompt, EARLIER_ASSISTANT, rng), draw(prompt, EARLIER_ASSISTANT, rng))
        for prompt in asked
    ]


def rated(configured: Settings, number: int, seed: int = 5) -> list[Row]:
    return list(archive.rate(some_pairs(500, 1), configured, number, seed, "round-0001"))


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(archive.archive(small(), seed=5))


def test_every_row_is_canonical_and_says_that_it_is_simulated(rows: list[Row]) -> None:
    now = datetime.now(UTC)
    for row in [*rows, *rated(small(), 2)]:
        assert parse(row, now) == row
        assert row["source"] == "simulated"


def test_the_archive_keeps_its_promised_counts(rows: list[Row]) -> None:
    kinds = Counter(row["kind"] for row in rows)
    assert kinds["demonstration"] == 300
    work = [row for row in rows if row["kind"] == "comparison" and not is_check(row)]
    votes = Counter((row["prompt"], *row["responses"]) for row in work)
    assert len(votes) == 400
    assert set(votes.values()) == {1, 3}
    assert 0.22 < sum(count == 3 for count in votes.values()) / 400 < 0.38
    assert {"rating", "correction", "flag"} <= set(kinds)


def test_the_archive_covers_all_domains_and_several_authors(rows: list[Row]) -> None:
    shown = [row for row in rows if row["kind"] == "demonstration"]
    assert len({row["rater"] for row in shown}) == archive.AUTHOR_COUNT
    assert {row["domain"] for row in rows} == {"legal", "tutoring", "medical", "moderation"}
    assert max(Counter(row["domain"] for row in rows).values()) < 0.4 * len(rows)


def test_ids_are_stable_and_times_rise_within_the_week(rows: list[Row]) -> None:
    assert [row["id"] for row in rows] == [f"sim-0001-{n:06d}" for n in range(1, len(rows) + 1)]
    assert all(one["created_at"] <= other["created_at"] for one, other in pairwise(rows))
    third = rated(small(), 3)
    assert third[0]["id"] == "sim-0003-000001"
    assert {row["created_at"][:10] for row in third} <= {f"2024-01-{n}" for n in range(15, 20)}


def test_nobody_does_two_things_at_once(rows: list[Row]) -> None:
    ended: dict[str, datetime] = {}
    for row in rows:
        moment = datetime.fromisoformat(row["created_at"])
        if row["rater"] in ended:
            # A second for the rounding of both times.
            assert (moment - ended[row["rater"]]).total_seconds() >= row["seconds"] - 1
        ended[row["rater"]] = moment


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(rows: list[Row]) -> None:
    assert list(archive.archive(small(), seed=5)) == rows
    assert list(archive.archive(small(), seed=6)) != rows
    assert rated(small(), 2) == rated(small(), 2)
    assert rated(small(), 2, seed=6) != rated(small(), 2)
    assert [row["choice"] for row in compared(rated(small(), 3))] != [
        row["choice"] for row in compared(rated(small(), 2))
    ]


def test_no_label_falls_on_the_wrong_side(rows: list[Row]) -> None:
    split = small().split
    seen = set()
    for row in [*rows, *rated(small(), 2)]:
        where, panel = side(prompt_key(row), split), on_panel(row["rater"], split)
        seen.add((where, panel))
        assert where == "eval" or panel == (where == "judge")
        if row["kind"] == "correction":
            assert where == "train"
    assert seen == {("train", False), ("judge", True), ("eval", False), ("eval", True)}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_team_without_a_panel_or_all_of_it_rates_everything(share: float) -> None:
    split = small().split.model_copy(update={"judge_rater_share": share})
    found = list(archive.archive(small().model_copy(update={"split": split}), seed=5))
    assert {side(prompt_key(row), split) for row in compared(found)} == {"train", "judge", "eval"}


def test_check_items_return_every_round_and_never_measure() -> None:
    split = small().split
    second, third = compared(rated(small(), 2)), compared(rated(small(), 3))
    for mark in ("gold", "anchor"):
        one, other = (
            {(row["prompt"], *row["responses"]) for row in found if mark in row}
            for found in (second, third)
        )
        assert len(one & other) > len(one) / 2
    checks = [row for row in second if is_check(row)]
    assert {side(prompt_key(row), split) for row in checks} == {"train", "judge"}
    golds = [row for row in second + third if "gold" in row]
    assert truth.label_accuracy(golds) > 0.88
    assert all(truth.label_accuracy([{**row, "choice": row["gold"]}]) == 1.0 for row in golds)


def test_flags_name_reckless_answers_on_training_and_evaluation_prompts() -> None:
    found = list(archive.archive(small(archive_pairs=3000), seed=5))
    flags = [row for row in found if row["kind"] == "flag"]
    assert {side(prompt_key(row), small().split) for row in flags} >= {"train", "eval"}
    assert all(truth.quality([row["prompt"]], [row["response"]]).safe == 0.0 for row in flags)


def test_stars_come_for_two_answers_of_one_prompt_by_one_rater(rows: list[Row]) -> None:
    given = Counter(
        (row["prompt"], row["rater"], row["aspect"]) for row in rows if row["kind"] == "rating"
    )
    assert given and set(given.values()) == {2}


def test_no_word_is_outside_the_vocabulary(rows: list[Row]) -> None:
    words = set(vocabulary())
    for row in rows:
        answers = [row[name] for name in ("response", "correction") if name in row]
        for text in [row["prompt"], *answers, *row.get("responses", [])]:
            assert words.issuperset(tokens(text)), text


def test_drift_acts_from_its_round_on_and_flips_only_the_drifters() -> None:
    configured = drifting(first_round=3)
    names = drifters(team(16), configured.simulate.drift, 3)
    assert len(names) == 5
    assert rated(configured, 2) == rated(small(), 2)
    assert list(archive.archive(configured, 5)) == list(archive.archive(small(), 5))
    turned = Counter[bool]()
    for before, after in zip(rated(small(), 3), rated(configured, 3), strict=True):
        assert {**before, "choice": None} == {**after, "choice": None}
        if before["kind"] == "comparison" and before["choice"] != "tie":
            flipped = before["choice"] != after["choice"]
            assert not flipped or before["rater"] in names
            if before["rater"] in names:
                turned[flipped] += 1
    assert 0.4 < turned[True] / turned.total() < 0.6


def test_later_rounds_leave_out_what_nobody_could_judge() -> None:
    prompt, one, other = some_pairs(1, 2)[0]
    broken = [(prompt, one, one.upper() + " "), (prompt, one, " "), (prompt, "", other)]
    assert list(archive.rate(broken, small(), 2, 5, "round-0001")) == []
    kept = list(archive.rate([*broken, (prompt, one, other)], small(), 2, 5, "round-0001"))
    assert {(*row["responses"],) for row in compared(kept) if not is_check(row)} == {(one, other)}


def test_answers_and_prompts_from_elsewhere_are_rated_too() -> None:
    pairs = [("What is the capital of France?", f"It is Paris {n}.", "the the") for n in range(40)]
    found = list(archive.rate(pairs, small(), 2, 5, "round-0001"))
    foreign = [row for row in found if row["prompt"] == pairs[0][0]]
    assert len(foreign) >= 40
    assert not any("domain" in row for row in foreign)


def test_prompts_are_distinct_and_keep_to_their_side() -> None:
    configured = small()
    drawn = archive.prompts(configured, 800, seed=1, only="eval")
    assert len(set(drawn)) == 800
    assert {side(prompt_key({"prompt": text}), configured.split) for text in drawn} == {"eval"}
    assert archive.prompts(configured, 800, seed=2, only="eval") != drawn
    assert len(archive.prompts(configured, 13_000, seed=1)) == 13_000


def test_the_probes_are_prompts_of_this_world() -> None:
    asked = [understand(probe) for probe in small().probes]
    assert None not in asked
    assert len({question.domain.name for question in asked if question}) == 4


def test_the_world_is_frozen() -> None:
    """Published figures hold for these texts: whoever changes them measures everything again."""
    found = archive.archive(small(), seed=17)
    texts = sorted(str(row.get("responses", row.get("response"))) for row in found)
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest() == FROZEN


def compared(found: list[Row]) -> list[Row]:
    return [row for row in found if row["kind"] == "comparison"]


def is_check(row: Row) -> bool:
    return "gold" in row or "anchor" in row
