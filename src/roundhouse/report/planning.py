"""A plan on the terminal: one column a plan, what it costs and what its checks would find."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from roundhouse.report import layout

Record = Mapping[str, Any]


def plan_text(found: Record) -> str:
    """One or several plans for the next round, side by side."""
    plans: Sequence[Record] = found["plans"]
    shown = layout.table("", *(_head(plan) for plan in plans))
    for label, cells in _rows(found, plans):
        shown.add_row(Text(label), *(Text(cell) for cell in cells))
    first = plans[0]
    people = found["raters"]
    source = "" if people["source"] == "given" else f" (as in {people['source']})"
    title = f"{first['ratings']:,} ratings by {people['count']:,} raters{source}"
    parts: list[RenderableType] = [Text(title, "bold"), shown]
    if first["power"]:
        parts.append(_checks(plans))
    return layout.render(*parts, *(Text(note) for note in _notes(found)))


def _checks(plans: Sequence[Record]) -> Table:
    """What is found under each plan; of false alarms the plan with most."""
    heads = ["found"] if len(plans) == 1 else [f"found, {_head(plan)}" for plan in plans]
    table = layout.table("case", "check", *heads, "false alarms")
    for row in zip(*(plan["power"] for plan in plans), strict=True):
        most = max(row, key=lambda one: one["false"] or 0.0)
        cells = [_share(one["found"], one["error"]) for one in row]
        false = _share(most["false"], most["false_error"], 3)
        table.add_row(row[0]["case"], row[0]["check"], *cells, false)
    return table


def _head(plan: Record) -> str:
    return f"{plan['shared'] / max(1, plan['pairs']):.0%} seen by {plan['together']}"


def _rows(found: Record, plans: Sequence[Record]) -> list[tuple[str, list[str]]]:
    rows = [
        ("ratings of each rater", [f"{plan['each']:,}" for plan in plans]),
        ("  of new pairs", [f"{plan['work']:,}" for plan in plans]),
        ("  check items (gold)", [f"{plan['gold']:,} of {plan['bank']:,}" for plan in plans]),
        ("  anchors", [f"{plan['anchors']:,} of {plan['bank']:,}" for plan in plans]),
        ("new pairs", [f"{plan['pairs']:,}" for plan in plans]),
        ("  seen by several", [f"{plan['shared']:,}" for plan in plans]),
        ("hours", [f"{plan['cost']['hours']:,.1f}" for plan in plans]),
    ]
    if found["wage"] is not None:
        rows.append(("cost", [f"{plan['cost']['money']:,.0f}" for plan in plans]))
    rows.append(("reward accuracy then", [_accuracy(plan["accuracy"]) for plan in plans]))
    return rows


def _accuracy(found: Record) -> str:
    if found["value"] is None:
        return "not known"
    ends = layout.interval(found["low"], found["high"])
    return f"{layout.number(found['value'])} {ends} with {found['pairs_then']:,} pairs"


def _share(value: float | None, error: float | None, digits: int = 2) -> str:
    return "no test" if value is None else f"{value:.{digits}f} ({error:.{digits}f})"


def _notes(found: Record) -> list[str]:
    pace, rounds = found["seconds"], found["rounds"]
    notes = [
        f"{pace['mean']:.0f} seconds a comparison: the default, no row of the ledger says more"
    ]
    if pace["rows"]:
        notes = [
            f"{pace['mean']:.1f} seconds a comparison: mean of {pace['rows']:,} rows of the ledger "
            f"(median {pace['median']:.1f})"
        ]
    sizes = len({point["pairs"] for point in rounds})
    if found["plans"][0]["accuracy"]["value"] is None:
        notes.append(
            "reward accuracy: a learning curve needs three published rounds with different numbers "
            f"of pairs, there are {sizes}"
        )
    else:
        last = rounds[-1]
        notes.append(
            f"reward accuracy: the curve of {len(rounds)} rounds, the last {last['accuracy']:.3f} "
            f"with {last['pairs']:,} pairs; as far as settings and answers stay alike"
        )
    if found["plans"][0]["power"]:
        notes.append(
            f"found: share of {found['replicates']} simulations (standard error), a sixth of them "
            "for spam, of raters who agree in 74 of 100 votes; turns: says the opposite in so many "
            "votes; false alarms: of raters, for anchors of rounds, at most in any plan"
        )
    return notes
