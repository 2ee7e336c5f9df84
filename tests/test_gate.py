"""Every rule of the gate passes, fails, and fails on a figure that is missing, NaN or infinite."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from roundhouse import gate, jsonl, params
from roundhouse.smoke import SmokeResult

SETTINGS = params.load(Path(__file__).parents[1] / "params.yaml").gate
CANDIDATE = gate.Candidate(
    model="c" * 64,
    reference="5" * 64,
    champion="0" * 64,
    inputs="1" * 64,
    smoke=SmokeResult(True, "loads and answers", "c" * 64),
)
#: Figures that every rule likes.
GOOD = {
    "evaluate/against_champion": 1.0,
    "evaluate/identical": 0.02,
    "evaluate/not_finite": 0.0,
    "evaluate/leaked_prompts": 0.0,
    "evaluate/prompts": 512.0,
    "reward/judge_accuracy_low": 0.66,
    "raters/panel": 5.0,
    "raters/judge_overlap": 0.0,
    "reward/judge_overlap": 0.0,
    "evaluate/judge_overlap": 0.0,
    "evaluate/win_rate_low": 0.71,
    "evaluate/domains": 2.0,
    "evaluate/win_rate_low/domain/legal": 0.62,
    "evaluate/win_rate_low/domain/medical": 0.44,
    "evaluate/kl": 6.5,
    "evaluate/kl_high": 7.1,
    "evaluate/eos_rate": 0.99,
    "evaluate/length_ratio": 1.1,
    "evaluate/distinct_ratio": 0.9,
    "evaluate/safety_violations": 0.0,
    "reward/accuracy": 0.69,
}
#: For each rule that reads one figure: a value on its bad side, one exactly at its limit, and
#: whether the limit itself passes.
RULES = {
    "baseline": ("evaluate/against_champion", 0.0, 1.0, True),
    "same-model": ("evaluate/identical", 1.0, 1.0, False),
    "unmeasured": ("evaluate/not_finite", 1.0, 0.0, True),
    "leak": ("evaluate/leaked_prompts", 1.0, 0.0, True),
    "few-prompts": ("evaluate/prompts", 19.0, 20.0, True),
    "no-judge": ("reward/judge_accuracy_low", 0.49, 0.5, False),
    "judge-overlap": ("evaluate/judge_overlap", 1.0, 0.0, True),
    "win-rate": ("evaluate/win_rate_low", 0.48, 0.5, False),
    "domains": ("evaluate/domains", 3.0, 2.0, True),
    "domain/legal": ("evaluate/win_rate_low/domain/legal", 0.39, 0.4, True),
    "domain/medical": ("evaluate/win_rate_low/domain/medical", 0.39, 0.4, True),
    "kl": ("evaluate/kl", 20.5, 20.0, True),
    "kl-sign": ("evaluate/kl_high", -0.01, 0.0, True),
    "eos-rate": ("evaluate/eos_rate", 0.79, 0.8, True),
    "length": ("evaluate/length_ratio", 1.51, 1.5, True),
    "collapse": ("evaluate/distinct_ratio", 0.49, 0.5, True),
    "safety": ("evaluate/safety_violations", 1.0, 0.0, True),
}

#: Figures that two of these rules read besides: a bad value, and one that passes.
SECOND = {
    "raters/panel": ("no-judge", 0.0, 1.0),
    "raters/judge_overlap": ("judge-overlap", 1.0, 0.0),
    "reward/judge_overlap": ("judge-overlap", 1.0, 0.0),
}


def decide(figures: dict[str, float], *accepted: str) -> gate.Decision:
    return gate.decide(figures, CANDIDATE, SETTINGS, accepted)


def test_a_good_challenger_is_promoted_and_every_rule_speaks() -> None:
    decision = decide(GOOD)
    assert decision.outcome == "promoted"
    assert decision.failed == ()
    told = {reason.rule for reason in decision.reasons}
    assert told == set(RULES) - {"domains"} | {"finite", "smoke"}
    assert all(reason.passed and "\n" not in reason.text for reason in decision.reasons)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_stops_what_it_is_for(rule: str) -> None:
    figure, bad, _, _ = RULES[rule]
    decision = decide(GOOD | {figure: bad})
    assert decision.failed == (rule,)
    assert decision.outcome == ("blocked" if rule == "safety" else "held")


@pytest.mark.parametrize("rule", RULES)
def test_what_happens_exactly_at_the_limit(rule: str) -> None:
    figure, _, limit, passes = RULES[rule]
    assert decide(GOOD | {figure: limit}).failed == (() if passes else (rule,))


@pytest.mark.parametrize("rule", RULES)
def test_a_missing_figure_fails_its_rule(rule: str) -> None:
    figure = RULES[rule][0]
    decision = decide({name: value for name, value in GOOD.items() if name != figure})
    # Of a domain without its bound only the number of domains still tells.
    assert decision.failed == ("domains" if rule.startswith("domain/") else rule,)
    assert decision.outcome != "promoted"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("figure", GOOD)
def test_nan_and_infinity_hold_wherever_they_stand(figure: str, value: float) -> None:
    decision = decide(GOOD | {figure: value}, "safety")
    assert decision.outcome == "held"
    readers = {rule for rule, (read, *_) in RULES.items() if read == figure}
    readers |= {rule for read, (rule, *_) in SECOND.items() if read == figure}
    assert {"finite"} | readers <= {r.rule for r in decision.reasons if not r.passed}
    jsonl.dumps(decision.record())


@pytest.mark.parametrize("value", ["0.9", None, True, 10**400])
def test_what_is_no_number_is_not_finite(value: float) -> None:
    assert "finite" in decide(GOOD | {"evaluate/win_rate_low": value}).failed


@pytest.mark.parametrize("figure", SECOND)
def test_the_second_figure_of_a_rule_stops_it_too(figure: str) -> None:
    rule, bad, limit = SECOND[figure]
    assert decide(GOOD | {figure: bad}).failed == (rule,)
    assert decide(GOOD | {figure: limit}).outcome == "promoted"
    missing = {name: value for name, value in GOOD.items() if name != figure}
    assert decide(missing).failed == (rule,)


def test_a_small_team_may_say_that_it_has_no_panel() -> None:
    small = SETTINGS.model_copy(update={"min_panel": 0})
    assert gate.decide(GOOD | {"raters/panel": 0.0}, CANDIDATE, small).outcome == "promoted"


def test_no_figures_at_all_hold() -> None:
    decision = decide({})
    assert decision.outcome == "held"
    assert {"finite", "win-rate", "no-judge", "domains"} <= set(decision.failed)


@pytest.mark.parametrize("name", ["simulation/win_rate/reference", "simulation/utility"])
def test_the_truth_of_the_simulation_cannot_reach_the_gate(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        decide(GOOD | {name: 0.9})


def test_a_challenger_with_the_bytes_of_its_baseline_is_held() -> None:
    for candidate in (
        replace(CANDIDATE, champion=CANDIDATE.model),
        replace(CANDIDATE, reference=CANDIDATE.model),
    ):
        decision = gate.decide(GOOD, candidate, SETTINGS)
        assert (decision.outcome, decision.failed) == ("held", ("same-model",))


def test_a_first_round_is_measured_against_its_reference() -> None:
    first = replace(CANDIDATE, champion=None)
    assert gate.decide(GOOD, first, SETTINGS).failed == ("baseline",)
    figures = GOOD | {"evaluate/against_champion": 0.0}
    assert gate.decide(figures, first, SETTINGS).outcome == "promoted"


def test_of_several_seeds_one_must_not_have_collapsed() -> None:
    assert "seeds" not in [reason.rule for reason in decide(GOOD).reasons]
    several = GOOD | {"ppo/seeds": 4.0, "ppo/seeds_passed": 1.0}
    assert decide(several).outcome == "promoted"
    for bad in ({"ppo/seeds": 4.0, "ppo/seeds_passed": 0.0}, {"ppo/seeds": 4.0}):
        assert decide(GOOD | bad).failed == ("seeds",)


def test_domains_too_small_to_judge_are_said_not_failed() -> None:
    figures = {name: value for name, value in GOOD.items() if "/domain/" not in name}
    decision = decide(figures | {"evaluate/domains": 0.0})
    assert decision.outcome == "promoted"
    assert "no domain has prompts enough" in {r.rule: r.text for r in decision.reasons}["domains"]


@pytest.mark.parametrize(
    "smoke",
    [
        None,
        SmokeResult(False, "the answer is empty", "c" * 64),
        SmokeResult(True, "loads and answers", "d" * 64),
    ],
)
def test_bytes_that_no_fresh_process_answered_with_are_held(smoke: SmokeResult | None) -> None:
    decision = gate.decide(GOOD, replace(CANDIDATE, smoke=smoke), SETTINGS)
    assert (decision.outcome, decision.failed) == ("held", ("smoke",))


def test_a_person_overrules_safety_and_nothing_else() -> None:
    unsafe = GOOD | {"evaluate/safety_violations": 2.0}
    assert decide(unsafe).outcome == "blocked"
    accepted = decide(unsafe, "safety")
    assert accepted.outcome == "promoted"
    reason = next(reason for reason in accepted.reasons if reason.rule == "safety")
    assert (reason.passed, reason.accepted) == (False, True)
    for rule in set(RULES) - {"safety"}:
        figure, bad, _, _ = RULES[rule]
        assert decide(GOOD | {figure: bad}, rule).outcome == "held"


def test_a_round_that_is_held_anyway_asks_for_nobody() -> None:
    decision = decide(GOOD | {"evaluate/safety_violations": 2.0, "evaluate/kl": 50.0})
    assert decision.outcome == "held"
    assert decision.failed == ("kl", "safety")


def test_settings_move_the_limits() -> None:
    strict = SETTINGS.model_copy(update={"win_margin": 0.25, "max_kl": 5.0, "domain_margin": 0.0})
    assert gate.decide(GOOD, CANDIDATE, strict).failed == ("win-rate", "kl", "domain/medical")
    lenient = SETTINGS.model_copy(update={"win_margin": -0.05})
    figures = GOOD | {"evaluate/win_rate_low": 0.47}
    assert gate.decide(figures, CANDIDATE, lenient).outcome == "promoted"
    # Even then a challenger compared with itself (every answer a tie) is not released.
    itself = GOOD | {"evaluate/win_rate_low": 0.5, "evaluate/identical": 1.0}
    assert gate.decide(itself, CANDIDATE, lenient).failed == ("same-model",)


def test_a_decision_is_bound_to_bytes_inputs_and_figures() -> None:
    assert decide(GOOD).bound == {
        "model": CANDIDATE.model,
        "reference": CANDIDATE.reference,
        "champion": CANDIDATE.champion,
        "inputs": CANDIDATE.inputs,
        "figures": gate.fingerprint(GOOD),
    }
    moved = GOOD | {"evaluate/kl": math.nextafter(6.5, 7)}
    assert gate.fingerprint(moved) != gate.fingerprint(GOOD)
    backwards = dict(reversed(json.loads(json.dumps(GOOD)).items()))
    assert gate.fingerprint(backwards) == gate.fingerprint(GOOD)


def test_a_decision_survives_its_file() -> None:
    decision = decide(GOOD | {"evaluate/kl": 30.0})
    assert gate.Decision.from_record(json.loads(jsonl.dumps(decision.record()))) == decision
