"""Forward from a rater, a row or a file: what the commands print."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from roundhouse.report import layout

Record = Mapping[str, Any]


def rater_text(found: Record) -> str:
    """The rounds and models that one rater's rows went into."""
    table = _rounds("weight", "state", "rows", "used", "not used")
    for row in found["rounds"]:
        weight, state = layout.number(row["weight"], 2), Text(row["state"] or "-")
        table.add_row(*_entry(row), weight, state, f"{row['rows']:,}", *_uses(row))
    words = [
        f"{word['state']} by {word['who']}, {word['at']}: {word['why']}"
        for word in found["overrides"]
    ]
    facts = {"waiting for a round": f"{found['waiting']:,} rows"} | _many("a person's word", words)
    return layout.render(Text(f"Rater {found['rater']}", "bold"), layout.facts(facts), table)


def row_text(found: Record) -> str:
    """Where a row came from and what each round made of it."""
    facts = {"state": found["state"]}
    if "seq" in found:
        facts |= {
            "kind": found["kind"],
            "rater": found["rater"] or "erased",
            "came with": f"{found['file']} ({found['file_sha256'] or 'not read to its end'})",
            "received": f"{found['received_at']}, row {found['seq']:,} of the ledger",
        }
    facts |= _many(
        "quarantined",
        (
            f"{one['file']} line {one['line']}: {one['code']}, {one['message']}"
            for one in found["quarantined"]
        ),
    )
    table = _rounds("rater's weight", "state", "used")
    for row in found["rounds"]:
        weight = layout.number(row.get("rater_weight"), 2)
        told = "; ".join(_use(use) for use in row["uses"]) or "not found among the round's uses"
        table.add_row(*_entry(row), weight, Text(row.get("rater_state") or "-"), Text(told))
    parts = [table] if found["rounds"] else [Text("in no published round", layout.BAD)]
    return layout.render(Text(f"Row {found['row']}", "bold"), layout.facts(facts), *parts)


def file_text(found: Record) -> str:
    """What became of a file's rows, and the rounds they went into."""
    batches = layout.table("received", "sha256", "rows", "accepted", "duplicate", "quarantined")
    for batch in found["batches"]:
        batches.add_row(
            batch["started_at"],
            Text((batch["sha256"] or "interrupted")[:16]),
            f"{batch['received']:,}",
            f"{batch['accepted']:,}",
            f"{batch['duplicate']:,}",
            f"{batch['quarantined']:,}{layout.listed(batch['reasons'])}",
        )
    table = _rounds("rows", "used", "not used")
    for row in found["rounds"]:
        table.add_row(*_entry(row), f"{row['rows']:,}", *_uses(row))
    facts = layout.facts({"waiting for a round": f"{found['waiting']:,} rows"})
    return layout.render(Text(f"File {found['file']}", "bold"), batches, facts, table)


def _rounds(*more: str) -> Table:
    return layout.table("round", "decision", "version", *more)


def _entry(row: Record) -> tuple[str | Text, ...]:
    version = row["version"] or "-"
    shown = Text(f"{version} (champion)", "bold green") if row["champion"] else Text(version)
    return (str(row["round"]), row["decision"] or "unfinished", shown)


def _uses(row: Record) -> tuple[Text, Text]:
    """Counts of what was used, and of what was not with the reason."""
    reasons = {**row["excluded"], **row["unused"]}
    return Text(_listed(row["used"])), Text(_listed(reasons))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "-"


def _use(use: Record) -> str:
    """One use in words.

    >>> _use({"how": "reward", "weight": 1.25, "p": 0.5, "votes": 3})
    'reward, weight 1.25, soft label 0.5, 3 votes'
    """
    found = [use["how"]]
    found += [f"by the check {use['why']}"] if use["how"] == "excluded" else []
    found += [use["why"]] if use["how"] == "unused" else []
    found += [f"weight {use['weight']:.3g}"] if "weight" in use else []
    found += [f"soft label {use['p']:.3g}"] if "p" in use else []
    found += [f"{use['votes']} votes"] if "votes" in use else []
    return ", ".join(found)


def _many(name: str, texts: Iterable[str]) -> dict[str, str]:
    found: Sequence[str] = list(texts)
    return {name: "\n".join(found)} if found else {}
