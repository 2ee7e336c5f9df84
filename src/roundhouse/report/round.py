"""A round on the terminal: its figures with intervals, the gate's rules, and where to look further.

A round's record is a mapping; what it lacks is left out:

    decision      promoted, held, blocked, skipped; also unfinished, failed
    reasons       names or sentences of what stood in the way
    round         its number
    data_version  DVC's hash of data/feedback
    partitions    file name to number of rows
    feedback      received, accepted, duplicate, quarantined: all that had come to the ledger when
                  the round took its snapshot
    feedback_since  how much of it came since the last published round's; empty in the first
    unused        reason to rows without use
    metrics       metric name to number; `simulation/...` is shown and labelled as such
    seconds       step to seconds
    raters        key, state and since when of raters who are not ok
    rules         the reasons of decision.json (`gate.Reason` as mappings)
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from roundhouse.report import layout
from roundhouse.report.rater_words import STATES, who
from roundhouse.rounds.stages import STAGES

Record = Mapping[str, Any]
Metrics = Mapping[str, float]

_STYLES = {"promoted": "bold green", "held": "bold yellow", "skipped": "bold"}

#: Steps in the order of a round.
_ORDER = ("collect", "snapshot", *STAGES, "decide", "publish")


class Line(NamedTuple):
    """One row of a round's table."""

    label: str
    value: str
    note: str = ""


def show(record: Record) -> None:
    """Prints a round: a table on a terminal, plain lines elsewhere."""
    text = round_table(record) if sys.stdout.isatty() else round_lines(record)
    sys.stdout.write(text + "\n")


def round_lines(record: Record) -> str:
    """A round as plain lines, one figure or rule each."""
    out = [_title(record)]
    out += [f"  {label:<15}  {value}  {note}".rstrip() for label, value, note in lines(record)]
    out += [f"  {mark:<5} {rule}: {text}" for mark, rule, text in _verdicts(record)]
    out += [f"  warn  {warning}" for warning in record.get("warnings", ())]
    out += [f"  {label}: {command}" for label, command in commands(record)]
    return "\n".join(out)


def round_table(record: Record, width: int | None = None) -> str:
    """A round as a table for a terminal; of rules that passed it gives the names."""
    figures = Table.grid(padding=(0, 2))
    for line in lines(record):
        figures.add_row(Text(line.label, "dim"), Text(line.value, "bold"), Text(line.note))
    verdicts, rules = _verdicts(record), Table.grid(padding=(0, 2))
    for mark, rule, text in verdicts:
        if mark != "ok":
            rules.add_row(Text(mark, layout.BAD), Text(f"{rule}: {text}"))
    for warning in record.get("warnings", ()):
        rules.add_row(Text("warn", layout.BAD), Text(warning))
    if passed := [rule for mark, rule, _ in verdicts if mark == "ok"]:
        rules.add_row(Text("ok", "bold green"), Text(", ".join(passed)))
    where = Table.grid(padding=(0, 2))
    for label, command in commands(record):
        where.add_row(Text(label, "dim"), Text(command, "cyan"))
    title = Text(_title(record), _style(record["decision"]))
    tables = (part for part in (figures, rules, where) if part.row_count)
    parts: list[RenderableType] = [title, *(Padding(part, (1, 0, 0, 0)) for part in tables)]
    return layout.render(*parts, width=width)


def lines(record: Record) -> list[Line]:
    """The figures of a round that people ask for first, those that it has."""
    metrics: Metrics = record.get("metrics", {})
    found = [_data(record), *_feedback(record, metrics), *_raters(record, metrics)]
    found += [*_models(metrics), *_wins(metrics), _seconds(record.get("seconds", {}))]
    return [line for line in found if line is not None]


def commands(record: Record) -> list[tuple[str, str]]:
    """Where to look further."""
    if "round" not in record:
        return []
    program, round_ = layout.command(), record["round"]
    found = [("curves, plots", f"{program} up   then http://127.0.0.1:5000 (MLflow)")]
    if record.get("raters"):
        found.append(("these raters", f"{program} raters --round {round_} --page FILE.html"))
    if record["decision"] in ("promoted", "held"):
        found.append(("lineage", f"{program} audit round {round_}"))
    if record["decision"] == "blocked":
        found.append(("go on anyway", f"{program} round --accept {_check(record)} --why TEXT"))
    return found


def _check(record: Record) -> str:
    """The name of the check that blocked, which the reason begins with."""
    return next(iter(record.get("reasons", ())), "CHECK").partition(":")[0]


def rounds_table(rows: Sequence[Record]) -> str:
    """All rounds, one a line."""
    if not rows:
        return f"no rounds yet: run `{layout.command()} round`"
    found = layout.table(
        "round", "decision", "win rate", "true*", "reward", "KL", "data", "reasons"
    )
    for row in rows:
        metrics = row.get("metrics") or {}
        found.add_row(
            str(row["round"]),
            Text(row["decision"], _style(row["decision"])),
            layout.number(metrics.get("evaluate/win_rate")),
            layout.number(_true_wins(metrics)[1]),
            layout.number(metrics.get("reward/accuracy")),
            layout.number(metrics.get("evaluate/kl"), 1),
            str(row.get("data_version") or "")[:8],
            Text(", ".join(row.get("reasons") or ())),
        )
    note = Text("* true win rate of the simulation, which no decision sees", "dim")
    simulated = any(_true_wins(row.get("metrics") or {})[1] is not None for row in rows)
    return layout.render(found, *([note] if simulated else []))


def _title(record: Record) -> str:
    name = f"Round {record['round']}" if "round" in record else "Round"
    reasons = record.get("reasons") or ()
    return f"{name} {record['decision']}" + (f": {', '.join(reasons)}" if reasons else "")


def _style(decision: str) -> str:
    return _STYLES.get(decision, layout.BAD)


def _data(record: Record) -> Line | None:
    if not record.get("data_version"):
        return None
    parts: Mapping[str, int] = record.get("partitions", {})
    rows = f"{sum(parts.values()):,} rows in {len(parts)} partition{'s' * (len(parts) != 1)}"
    return Line("data version", record["data_version"][:12], rows if parts else "")


def _feedback(record: Record, metrics: Metrics) -> Iterable[Line]:
    counts: Mapping[str, int] = record.get("feedback", {})
    if counts:
        fates = (f"{counts[fate]:,} {fate}" for fate in ("accepted", "duplicate", "quarantined"))
        note = ", ".join(fates)
        if counts["quarantined"] and (since := record.get("feedback_since")):
            note += f", {since['quarantined']:,} of them since the last round"
        yield Line("rows received", f"{counts['received']:,}", note)
    if "raters/used" in metrics:
        checks = {
            name.removeprefix("validate/excluded/"): value
            for name, value in metrics.items()
            if name.startswith("validate/excluded/") and value
        }
        note = f"{metrics.get('raters/excluded', 0):,.0f} excluded{layout.listed(checks)}"
        if unused := metrics.get("raters/unused"):
            note += f", {unused:,.0f} without use{layout.listed(record.get('unused', {}))}"
        yield Line("rows used", f"{metrics['raters/used']:,.0f}", note)


def _raters(record: Record, metrics: Metrics) -> Iterable[Line | None]:
    note = f"of votes on one pair, all rounds, {metrics.get('raters/raters', 0):.0f} raters"
    yield _figure(metrics, "rater agreement", "raters/agreement", note)
    yield _figure(metrics, "  alpha", "raters/alpha", "Krippendorff's, all rounds")
    yield _newest(metrics)
    states = {name: metrics.get(f"raters/{name}", 0.0) for name in STATES[:-1]}
    if any(states.values()):
        named = ", ".join(f"{count:.0f} {name}" for name, count in states.items() if count)
        yield Line("rater states", named, who(record.get("raters", ())))


def _newest(metrics: Metrics) -> Line | None:
    """Alpha of the newest round with its change, which is not against alpha of all rounds."""
    change = _figure(metrics, "  against last", "raters/alpha_change", "")
    if change is None:
        return None
    alarm = "an alarm, see below" if metrics.get("raters/alarm") else "no alarm"
    if "raters/alpha_newest" not in metrics:
        note = f"change of alpha from the round before to the newest; {alarm}"
        return change._replace(note=note)
    value = metrics["raters/alpha_change"]
    low, high = (metrics.get(f"raters/alpha_change_{end}") for end in ("low", "high"))
    ends = "" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
    than = f"{abs(value):.3f} {'less' if value < 0 else 'more'} than the round before"
    newest = layout.number(metrics["raters/alpha_newest"])
    return Line("  newest round", newest, f"{than}{ends}; {alarm}")


def _models(metrics: Metrics) -> Iterable[Line | None]:
    if metrics.get("sft/demonstrations") == 0:
        yield Line("SFT", "model.base", "as it is: no demonstrations or corrections to learn from")
    note = "of held-out pairs"
    if ceiling := metrics.get("raters/ceiling"):
        share = metrics.get("reward/accuracy", 0) / ceiling
        note = f"ceiling {ceiling:.3f}, {share:.0%} of it reached"
    yield _figure(metrics, "reward accuracy", "reward/accuracy", note)
    note = f"last round's model on {metrics.get('reward/prequential_pairs', 0):,.0f} new pairs"
    yield _figure(metrics, "  before training", "reward/prequential_accuracy", note)
    by = "DPO" if "dpo/pairs" in metrics else "PPO"
    yield _figure(metrics, "judge accuracy", "reward/judge_accuracy", f"a model {by} never saw")
    note = f"its implicit reward on held-out pairs; {metrics.get('dpo/pairs', 0):,.0f} taught it"
    yield _figure(metrics, "DPO accuracy", "dpo/accuracy", note)
    if "ppo/seeds" in metrics:
        passed = f"{metrics['ppo/seeds_passed']:.0f} of {metrics['ppo/seeds']:.0f}"
        yield Line("PPO seeds", passed, f"did not collapse; taken: {metrics['ppo/seed_taken']:.0f}")
    ends = metrics.get("evaluate/eos_rate")
    note = "nats an answer" + (f", {ends:.1%} of them end" if ends is not None else "")
    yield _figure(metrics, "KL", "evaluate/kl", note, digits=2)


def _wins(metrics: Metrics) -> Iterable[Line | None]:
    other = "champion" if metrics.get("evaluate/against_champion") else "SFT"
    note = f"over {other} by the judge, {metrics.get('evaluate/prompts', 0):.0f} prompts"
    yield _figure(metrics, "win rate", "evaluate/win_rate", note)
    note = "what the judge would say if both were as long"
    yield _figure(metrics, "  equal length", "evaluate/win_rate_length_controlled", note)
    against, _ = _true_wins(metrics)
    note = f"SIMULATION: the truth, over {'SFT' if against == 'reference' else against}"
    yield _figure(metrics, "true win rate", f"simulation/win_rate/{against}", note)
    if against == "champion":
        name, note = "simulation/win_rate/reference", "SIMULATION: the truth, over SFT"
        yield _figure(metrics, "  over SFT", name, note)


def _true_wins(metrics: Metrics) -> tuple[str, float | None]:
    """Whom the simulation's truth compares with, and its win rate, where there is one."""
    other = "champion" if "simulation/win_rate/champion" in metrics else "reference"
    return other, metrics.get(f"simulation/win_rate/{other}")


def _figure(metrics: Metrics, label: str, name: str, note: str, digits: int = 3) -> Line | None:
    if name not in metrics:
        return None
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    value = f"{layout.number(metrics[name], digits)} {layout.interval(low, high, digits)}"
    return Line(label, value.rstrip(), note)


def _seconds(seconds: Mapping[str, float]) -> Line | None:
    if not seconds:
        return None
    steps = sorted(seconds, key=lambda step: (_ORDER.index(step) if step in _ORDER else 99, step))
    split = ", ".join(f"{step} {seconds[step]:.0f}" for step in steps)
    return Line("seconds", f"{sum(seconds.values()):.0f}", split)


def _verdicts(record: Record) -> list[tuple[str, str, str]]:
    """Mark, rule and sentence of every rule, those that failed first."""
    rules = sorted(record.get("rules", ()), key=lambda rule: bool(rule["passed"]))
    return [(_mark(rule), rule["rule"], rule["text"]) for rule in rules]


def _mark(rule: Record) -> str:
    if rule["passed"]:
        return "ok"
    return "FAIL, accepted" if rule.get("accepted") else "FAIL"
