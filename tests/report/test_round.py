"""The round's table: every figure asked for, none that is not there, no markup from outside."""

from collections.abc import Callable
from typing import Any

import pytest

from roundhouse import report
from roundhouse.report.round import commands

RULES = [
    {"rule": "finite", "passed": True, "text": "all figures are finite numbers"},
    {"rule": "kl", "passed": False, "text": "KL 31.2 is over 20"},
]
RECORD: dict[str, Any] = {
    "round": 2,
    "decision": "held",
    "reasons": ["kl"],
    "data_version": "3f2a91c07b22aa1122aabb.dir",
    "partitions": {"0001.jsonl": 20000, "0002.jsonl": 2500},
    "feedback": {"received": 22600, "accepted": 22500, "duplicate": 80, "quarantined": 20},
    "unused": {"panel": 1060, "repeated": 40},
    "metrics": {
        "raters/agreement": 0.734,
        "raters/agreement_low": 0.729,
        "raters/agreement_high": 0.739,
        "raters/ceiling": 0.842,
        "raters/used": 21000,
        "raters/unused": 1100,
        "raters/excluded": 400,
        "validate/excluded/rows": 400,
        "reward/accuracy": 0.694,
        "evaluate/kl": 31.2,
        "ppo/seeds": 4.0,
        "ppo/seeds_passed": 3.0,
        "ppo/seed_taken": 2.0,
        "evaluate/against_champion": 1.0,
        "evaluate/prompts": 512.0,
        "evaluate/win_rate": 0.752,
        "evaluate/win_rate_low": 0.712,
        "evaluate/win_rate_high": 0.79,
        "evaluate/win_rate_length_controlled": 0.702,
        "evaluate/win_rate_length_controlled_low": 0.66,
        "evaluate/win_rate_length_controlled_high": 0.74,
        "reward/prequential_accuracy": 0.581,
        "reward/prequential_accuracy_low": 0.553,
        "reward/prequential_accuracy_high": 0.61,
        "reward/prequential_pairs": 1432.0,
        "simulation/win_rate/champion": 0.61,
        "simulation/win_rate/champion_low": 0.57,
        "simulation/win_rate/champion_high": 0.65,
        "simulation/win_rate/reference": 0.84,
    },
    "seconds": {"sft": 44.2, "align": 39.0},
    "rules": RULES,
}
SHOWN = (
    "Round 2 held: kl",
    "3f2a91c07b22",
    "22,500 rows in 2 partitions",
    "22,600",
    "80 duplicate",
    "400 excluded (rows 400), 1,100 without use (panel 1,060, repeated 40)",
    "0.734 [0.729, 0.739]",
    "ceiling 0.842, 82% of it reached",
    "31.20",
    "0.752 [0.712, 0.790]",
    "over champion by the judge",
    "3 of 4",
    "did not collapse; taken: 2",
    "0.702 [0.660, 0.740]",
    "0.581 [0.553, 0.610]",
    "last round's model on 1,432 new pairs",
    "0.610 [0.570, 0.650]",
    "SIMULATION: the truth, over champion",
    "sft 44, align 39",
    "FAIL  kl: KL 31.2 is over 20",
    "audit round 2",
)
Shape = Callable[[dict[str, Any]], str]


def table80(record: dict[str, Any]) -> str:
    return report.round_table(record, width=80)


def table100(record: dict[str, Any]) -> str:
    return report.round_table(record, width=100)


@pytest.mark.parametrize("shape", [report.round_lines, table80, table100])
def test_every_figure_is_shown_with_its_interval(shape: Shape) -> None:
    text = " ".join(shape(RECORD).split())
    assert [part for part in SHOWN if " ".join(part.split()) not in text] == []


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_keeps_its_width_and_cuts_nothing(width: int) -> None:
    many = RECORD | {"seconds": {f"stage-{n}": 10.0 for n in range(30)}}
    text = report.round_table(many, width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "stage-29" in text


@pytest.mark.parametrize("shape", [report.round_lines, table80])
def test_what_the_record_lacks_is_left_out(shape: Shape) -> None:
    skipped = shape({"decision": "skipped", "reasons": ["12 new rows, fewer than 500"]})
    assert skipped == "Round skipped: 12 new rows, fewer than 500"
    early = shape({"round": 3, "decision": "blocked", "reasons": ["row-count"], "metrics": {}})
    assert "win rate" not in early
    assert "--accept" in early


def test_without_a_simulation_nothing_is_said_about_one() -> None:
    metrics = {k: v for k, v in RECORD["metrics"].items() if not k.startswith("simulation/")}
    assert "SIMULATION" not in report.round_lines(RECORD | {"metrics": metrics})
    assert "simulation" not in report.rounds_table([RECORD | {"metrics": metrics}])
    assert "simulation" in report.rounds_table([RECORD])


def test_a_first_round_is_compared_with_its_supervised_model() -> None:
    metrics = RECORD["metrics"] | {"evaluate/against_champion": 0.0}
    metrics = {k: v for k, v in metrics.items() if "win_rate/champion" not in k}
    text = report.round_lines(RECORD | {"metrics": metrics})
    assert "over SFT by the judge" in text
    assert "0.840  SIMULATION: the truth, over SFT" in text


def test_a_round_of_dpo_says_what_taught_it_and_has_no_line_of_ppo() -> None:
    metrics = {k: v for k, v in RECORD["metrics"].items() if not k.startswith("ppo/")}
    metrics |= {"reward/judge_accuracy": 0.66, "dpo/pairs": 4971.0}
    metrics |= {"dpo/accuracy": 0.714, "dpo/accuracy_low": 0.678, "dpo/accuracy_high": 0.75}
    text = report.round_lines(RECORD | {"metrics": metrics})
    assert "0.714 [0.678, 0.750]  its implicit reward on held-out pairs; 4,971 taught it" in text
    assert "0.660  a model DPO never saw" in text
    assert "PPO" not in text and "DPO" not in report.round_lines(RECORD)


def test_a_round_without_demonstrations_says_what_its_supervised_model_is() -> None:
    lines = [
        report.round_lines(RECORD | {"metrics": RECORD["metrics"] | {"sft/demonstrations": count}})
        for count in (0.0, 7.0)
    ]
    said = ["model.base  as it is: no demonstrations" in text for text in lines]
    assert said == [True, False]


@pytest.mark.parametrize("new", [0, 15])
def test_what_was_put_aside_long_ago_is_told_from_what_is_new(new: int) -> None:
    since = {"received": 900, "accepted": 885, "duplicate": 0, "quarantined": new}
    text = report.round_lines(RECORD | {"feedback_since": since})
    assert f"20 quarantined, {new} of them since the last round\n" in text
    clean = RECORD["feedback"] | {"received": 22580, "quarantined": 0}
    assert "since the last" not in report.round_lines(
        RECORD | {"feedback": clean, "feedback_since": since | {"quarantined": 0}}
    )
    first = report.round_lines(RECORD | {"feedback_since": {}})
    assert "20 quarantined\n" in first


def test_plain_lines_give_every_rule_and_an_overruled_one_is_marked() -> None:
    taken = RULES[1] | {"rule": "safety", "accepted": True}
    text = report.round_lines(RECORD | {"rules": [*RULES, taken]})
    assert "ok    finite: all figures" in text
    assert "FAIL, accepted safety" in text


@pytest.mark.parametrize("shape", [report.round_lines, table80])
def test_raters_in_other_states_are_named_and_the_pools_change_is_told(shape: Shape) -> None:
    change = {"raters/alpha_change": -0.02, "raters/alpha_change_low": -0.06}
    metrics = RECORD["metrics"] | change | {"raters/alpha_change_high": 0.03, "raters/alarm": 0}
    metrics |= {"raters/watch": 8, "raters/suspended": 1, "raters/minority": 0}
    raters = [{"rater": "3f2a91c0", "state": "suspended", "since": 1}]
    raters += [{"rater": f"{n:08x}", "state": "watch", "since": 2} for n in range(8)]
    text = " ".join(shape(RECORD | {"metrics": metrics, "raters": raters}).split())
    said = "-0.020 [-0.060, 0.030] change of alpha from the round before to the newest; no alarm"
    assert said in text, "of a round that lacks the newest round's alpha"
    assert "1 suspended, 8 watch 3f2a91c0 suspended since round 1, 00000000 watch" in text
    assert "3 more" in text and "raters --round 2 --page FILE.html" in text
    text = shape(RECORD | {"metrics": metrics | {"raters/alarm": 1}})
    assert "an alarm, see below" in text
    assert "round before" not in shape(RECORD) and "--page" not in shape(RECORD)


@pytest.mark.parametrize("shape", [report.round_lines, table80])
def test_which_alpha_the_change_is_of_cannot_be_mistaken(shape: Shape) -> None:
    ends = {"raters/alpha_change_low": -0.2, "raters/alpha_change_high": -0.05}
    metrics = RECORD["metrics"] | {"raters/alpha": 0.371, "raters/raters": 50} | ends
    metrics |= {"raters/alpha_newest": 0.316, "raters/alpha_change": -0.123, "raters/alarm": 1}
    text = " ".join(shape(RECORD | {"metrics": metrics}).split())
    assert "0.371 Krippendorff's, all rounds" in text
    assert "of votes on one pair, all rounds, 50 raters" in text
    newest = "newest round 0.316 0.123 less than the round before (-0.200 to -0.050); an alarm"
    assert newest in text
    rose = metrics | {"raters/alpha_change": 0.02}
    assert "0.020 more than" in " ".join(shape(RECORD | {"metrics": rose}).split())


@pytest.mark.parametrize("shape", [report.round_lines, table80])
def test_warnings_are_shown(shape: Shape) -> None:
    warning = "ppo-alarm: kl in 4 steps"
    assert f"warn  {warning}" in shape(RECORD | {"warnings": [warning]})
    assert "warn" not in shape(RECORD)


def test_names_from_feedback_are_not_markup() -> None:
    hostile = {"[bold]x[/bold]": True, "[link=http://e]y": False}
    rules = [{"rule": f"domain/{n}", "passed": p, "text": n} for n, p in hostile.items()]
    for text in (table80(RECORD | {"rules": rules}), report.round_lines(RECORD | {"rules": rules})):
        assert all(name in " ".join(text.split()) for name in hostile)


def test_show_prints_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.show(RECORD)
    printed = capsys.readouterr().out
    assert printed == report.round_lines(RECORD) + "\n"
    assert "\x1b" not in printed


def test_rounds_are_listed_with_what_is_known() -> None:
    rows = [RECORD, {"round": 3, "decision": "unfinished", "reasons": [], "metrics": {}}]
    text = report.rounds_table(rows)
    assert "0.752" in text
    assert "unfinished" in text
    assert report.rounds_table([]).startswith("no rounds yet")


def test_commands_lead_where_something_is() -> None:
    assert commands({"decision": "skipped"}) == []
    named = [command for _, command in commands({"round": 7, "decision": "blocked"})]
    assert not any("audit" in command for command in named)
