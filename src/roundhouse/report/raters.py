"""The table of a round's raters on the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from roundhouse.report import layout
from roundhouse.report.rater_words import STATES

Record = Mapping[str, Any]


def raters_table(number: int, raters: Sequence[Record]) -> str:
    """The raters of a round, those who need attention first, then the least accurate.

    Args:
        number: of the round.
        raters: lines of raters.json, with or without `key`; older ones lack `since` and `rounds`.
    """
    found = layout.table("rater", "key", "region", "state", "since", "weight", "accuracy", "votes")
    for column in found.columns[3:]:
        column.no_wrap = True
    ordered = sorted(raters, key=_urgency)
    for rater in ordered:
        ends = layout.interval(rater["accuracy_low"], rater["accuracy_high"], 2)
        since = rater.get("since")
        found.add_row(
            Text(rater["rater"], overflow="fold"),
            Text(rater.get("key", ""), overflow="fold"),
            Text(rater["region"] or "", overflow="fold"),
            Text(rater["state"], "" if rater["state"] == "ok" else layout.BAD),
            str(since) if since else "",
            layout.number(rater["weight"], 2),
            Text(f"{layout.number(rater['accuracy'], 2)} {ends}".rstrip()),
            f"{rater['votes']:,}",
        )
    parts: list[RenderableType] = [Text(f"Raters of round {number}", "bold"), found]
    return layout.render(*parts, *_why(ordered))


def _urgency(rater: Record) -> tuple[Any, ...]:
    changed = rater["state"] == "ok" and _state_before(rater) not in (None, "ok")
    unknown = 2.0
    accuracy = unknown if rater["accuracy"] is None else rater["accuracy"]
    return (STATES.index(rater["state"]), not changed, accuracy, rater["rater"])


def _state_before(rater: Record) -> str | None:
    rounds: Sequence[Record] = rater.get("rounds") or ()
    return str(rounds[-2]["state"]) if len(rounds) > 1 else None


def _why(raters: Sequence[Record]) -> list[RenderableType]:
    """What was found of each; what many share, once."""
    shared = Counter("; ".join(one["evidence"]) for one in raters)
    table, told = layout.table("rater", "what was found"), set()
    for one in raters:
        words = "; ".join(one["evidence"])
        if not words or words in told:
            continue
        name = one["rater"] if shared[words] == 1 else f"{shared[words]:,} raters"
        table.add_row(Text(name, overflow="fold"), Text(words))
        told.add(words)
    return [table] if told else []
