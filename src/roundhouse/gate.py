"""Whether the challenger becomes the champion: pure rules over figures, each with its reason.

    promoted   every rule passed: the challenger becomes the champion
    held       a rule failed: the champion stays, nobody has to look
    blocked    only rules that a person may overrule failed (`OVERRULABLE`): a person has to look

A figure that is missing, NaN or infinite fails the rules that need it; nothing passes by default.
A rule's name is what its failure is called, so a round's reasons read `no-judge`, `win-rate`.
What only the simulation knows must not decide: a figure under `simulation/` is refused.
"""

import hashlib
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from roundhouse.settings import GateSettings
from roundhouse.smoke import SmokeResult

Outcome = Literal["promoted", "held", "blocked"]

#: Rules that ask for a person's eyes; `roundhouse round --accept RULE --why TEXT` overrules them.
OVERRULABLE = frozenset({"safety"})

_RELATIONS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "above": (operator.gt, "not above"),
    "at least": (operator.ge, "under"),
    "at most": (operator.le, "over"),
}


class _Rule(NamedTuple):
    """A figure held against a limit."""

    name: str
    figure: str
    relation: str
    limit: Callable[[GateSettings], float]
    what: str


#: What one figure decides. Domains, the smoke test and what is compared with what follow below.
_RULES = (
    _Rule(
        "unmeasured",
        "evaluate/not_finite",
        "at most",
        lambda _: 0,
        "answers whose score or KL is no finite number:",
    ),
    _Rule(
        "leak",
        "evaluate/leaked_prompts",
        "at most",
        lambda _: 0,
        "evaluation prompts that also train:",
    ),
    _Rule(
        "few-prompts",
        "evaluate/prompts",
        "at least",
        lambda settings: settings.min_prompts,
        "evaluation prompts:",
    ),
    _Rule(
        "win-rate",
        "evaluate/win_rate_low",
        "above",
        lambda settings: 0.5 + settings.win_margin,
        "lower bound of the win rate",
    ),
    _Rule(
        "kl",
        "evaluate/kl",
        "at most",
        lambda settings: settings.max_kl,
        "KL from the reference, in nats,",
    ),
    # KL is never negative: an interval wholly under 0 says that something is measured wrongly.
    _Rule("kl-sign", "evaluate/kl_high", "at least", lambda _: 0, "upper bound of the KL"),
    _Rule(
        "eos-rate",
        "evaluate/eos_rate",
        "at least",
        lambda settings: settings.min_eos_rate,
        "share of answers that end",
    ),
    _Rule(
        "length",
        "evaluate/length_ratio",
        "at most",
        lambda settings: settings.max_length_ratio,
        "mean length against the baseline's",
    ),
    _Rule(
        "collapse",
        "evaluate/distinct_ratio",
        "at least",
        lambda settings: settings.min_distinct_ratio,
        "number of different answers against the baseline's",
    ),
    _Rule(
        "safety",
        "evaluate/safety_violations",
        "at most",
        lambda _: 0,
        "flagged texts said again:",
    ),
)


class Reason(NamedTuple):
    """One rule's verdict, passed or not."""

    rule: str
    passed: bool
    value: float | None
    """What was measured; None where it is missing or not a number that can be compared."""
    limit: float | None
    """What it was held against, from the settings."""
    text: str
    """One line for a person."""
    accepted: bool = False
    """A person overruled the failure."""


@dataclass(frozen=True)
class Candidate:
    """The bytes up for release, and what they were measured against.

    Hashes are hexadecimal sha256; those of model folders come from `hashes.sha256_folder`.
    """

    model: str
    """Hash of the challenger's folder as published."""
    reference: str
    """Hash of this round's supervised model, the baseline where there is no champion."""
    champion: str | None
    """Hash of the champion's folder, the baseline where there is one."""
    inputs: str
    """Hash of the round's inputs.json."""
    smoke: SmokeResult | None
    """What a fresh process made of the published bytes; None where it was not asked."""


@dataclass(frozen=True)
class Decision:
    """An outcome, why, and the hashes of everything it is bound to."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    bound: Mapping[str, str | None]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the rules that stood in the way."""
        return tuple(reason.rule for reason in self.reasons if _stands(reason))

    def record(self) -> dict[str, Any]:
        """Plain data for decision.json."""
        return {
            "outcome": self.outcome,
            "reasons": [reason._asdict() for reason in self.reasons],
            "bound": dict(self.bound),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Decision":
        """The decision that `record` made the data of."""
        reasons = tuple(Reason(**reason) for reason in record["reasons"])
        return cls(record["outcome"], reasons, dict(record["bound"]))


def decide(
    figures: Mapping[str, float],
    candidate: Candidate,
    settings: GateSettings,
    accepted: Sequence[str] = (),
) -> Decision:
    """Applies every rule to a round's figures.

    Args:
        figures: metric name to number, of all stages (those of `evaluate` must be among them).
        accepted: names of checks that a person overruled; only `OVERRULABLE` ones matter here.

    Raises:
        ValueError: a figure comes from the simulation's truth.
    """
    told = [name for name in figures if name.startswith("simulation/")]
    if told:
        raise ValueError(f"the gate must not see the simulation's truth: {', '.join(sorted(told))}")
    numbers = {name: _number(value) for name, value in figures.items()}
    reasons = tuple(
        reason._replace(accepted=reason.rule in OVERRULABLE and reason.rule in accepted)
        if not reason.passed
        else reason
        for reason in _verdicts(numbers, candidate, settings)
    )
    bound = {
        "model": candidate.model,
        "reference": candidate.reference,
        "champion": candidate.champion,
        "inputs": candidate.inputs,
        "figures": fingerprint(numbers),
    }
    return Decision(_outcome(reasons), reasons, bound)


def fingerprint(figures: Mapping[str, float]) -> str:
    """sha256 over the exact values, independent of order and of how JSON wrote them."""
    lines = (f"{name}={float(value).hex()}\n" for name, value in sorted(figures.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _stands(reason: Reason) -> bool:
    return not reason.passed and not reason.accepted


def _outcome(reasons: Iterable[Reason]) -> Outcome:
    failed = {reason.rule for reason in reasons if _stands(reason)}
    if not failed:
        return "promoted"
    return "blocked" if failed <= OVERRULABLE else "held"


def _number(value: object) -> float:
    """The value as a float; NaN where it is none, so that the rule `finite` names it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _verdicts(
    figures: Mapping[str, float], candidate: Candidate, settings: GateSettings
) -> Iterator[Reason]:
    yield _finite(figures)
    yield _smoke(candidate)
    yield _baseline(figures.get("evaluate/against_champion"), candidate)
    yield _same_model(figures.get("evaluate/identical"), candidate)
    yield _judge(figures, settings)
    yield _judge_overlap(figures)
    for name, figure, relation, limit, what in _RULES:
        yield _compare(name, figures.get(figure), relation, limit(settings), what)
    if "ppo/seeds" in figures:
        what = "seeds of PPO that did not collapse:"
        yield _compare("seeds", figures.get("ppo/seeds_passed"), "at least", 1, what)
    yield from _domains(figures, 0.5 - settings.domain_margin)


def _compare(name: str, value: float | None, relation: str, limit: float, what: str) -> Reason:
    """`value` held against `limit`; a missing or not finite value fails."""
    if value is None or not math.isfinite(value):
        problem = "was not measured" if value is None else f"is {value}"
        return Reason(name, False, None, limit, f"{what.rstrip(':, ')} {problem}")
    holds, opposite = _RELATIONS[relation]
    passed = holds(value, limit)
    words = relation if passed else opposite
    return Reason(name, passed, value, limit, f"{what} {value:.4g} is {words} {limit:.4g}")


def _finite(figures: Mapping[str, float]) -> Reason:
    bad = sorted(name for name, value in figures.items() if not math.isfinite(value))
    if not figures:
        return Reason("finite", False, 0, None, "there are no figures")
    if not bad:
        return Reason("finite", True, 0, 0, f"all {len(figures)} figures are finite numbers")
    named = ", ".join(f"{name} is {figures[name]}" for name in bad[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return Reason("finite", False, len(bad), 0, f"not finite: {named}{more}")


def _smoke(candidate: Candidate) -> Reason:
    smoke = candidate.smoke
    if smoke is None:
        return Reason("smoke", False, None, None, "no fresh process has loaded the published model")
    if smoke.passed and smoke.sha256 != candidate.model:
        text = "the smoke test loaded other bytes than those up for release"
        return Reason("smoke", False, None, None, text)
    return Reason("smoke", smoke.passed, None, None, smoke.text)


def _baseline(against_champion: float | None, candidate: Candidate) -> Reason:
    """Measuring against the reference when there is a champion would release something worse."""
    wanted = float(candidate.champion is not None)
    named = "the champion" if wanted else "this round's supervised model, as there is no champion"
    if against_champion != wanted:
        return Reason("baseline", False, None, wanted, f"not measured against {named}")
    return Reason("baseline", True, against_champion, wanted, f"measured against {named}")


def _same_model(identical: float | None, candidate: Candidate) -> Reason:
    """Equal bytes, or answers that never differ: then nothing was compared."""
    if candidate.model in (candidate.champion, candidate.reference):
        other = "champion" if candidate.model == candidate.champion else "supervised model"
        return Reason("same-model", False, 1.0, 1.0, f"challenger and {other} are the same bytes")
    if identical is None or not math.isfinite(identical):
        text = "the share of answers equal to the baseline's was not measured"
        return Reason("same-model", False, None, 1.0, text)
    text = f"{identical:.4g} of the answers are equal to the baseline's"
    return Reason("same-model", identical < 1, identical, 1.0, text)


def _judge(figures: Mapping[str, float], settings: GateSettings) -> Reason:
    """A judge is somebody else than who taught the reward model, and knows better than chance."""
    seats = figures.get("raters/panel")
    what = "raters on the judge's panel:"
    panel = _compare("no-judge", seats, "at least", settings.min_panel, what)
    if not panel.passed:
        return panel
    accuracy, limit = figures.get("reward/judge_accuracy_low"), settings.min_judge_accuracy
    what = "lower bound of the judge's accuracy on held-out pairs"
    return _compare("no-judge", accuracy, "above", limit, what)


def _judge_overlap(figures: Mapping[str, float]) -> Reason:
    """Prompts and raters from which both the judge and what trains the challenger learned."""
    found = [
        _compare("judge-overlap", figures.get(figure), "at most", 0, what)
        for figure, what in (
            ("reward/judge_overlap", "prompts that taught the judge and the reward model:"),
            (
                "evaluate/judge_overlap",
                "prompts that taught the judge and stand on the training side:",
            ),
            ("raters/judge_overlap", "raters who taught the judge and the reward:"),
        )
    ]
    return next((reason for reason in found if not reason.passed), found[0])


def _domains(figures: Mapping[str, float], floor: float) -> Iterator[Reason]:
    """One reason a domain; their number is checked, so that a lost figure cannot pass."""
    prefix = "evaluate/win_rate_low/domain/"
    lows = {k.removeprefix(prefix): v for k, v in sorted(figures.items()) if k.startswith(prefix)}
    expected = figures.get("evaluate/domains")
    if expected != len(lows):
        text = (
            f"bounds of {len(lows)} domains were measured, and their number was given as {expected}"
        )
        yield Reason("domains", False, len(lows), None, text)
    elif not lows:
        yield Reason("domains", True, 0, 0, "no domain has prompts enough to be judged by itself")
    for domain, low in lows.items():
        what = f"corrected lower bound of the win rate in {domain}"
        yield _compare(f"domain/{domain}", low, "at least", floor, what)
