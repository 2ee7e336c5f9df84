"""Lineage, differences, verification: what the commands about published rounds print."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from roundhouse.metrics import of_a_part
from roundhouse.report import layout
from roundhouse.report.round import lines

Record = Mapping[str, Any]


def audit_text(found: Record) -> str:
    """What a round's result, or a model version, depends on."""
    partitions = layout.table("partition", "rows", "sha256")
    for name, part in sorted(found["partitions"].items()):
        digest = Text(part["sha256"], overflow="fold")
        partitions.add_row(name, f"{part['rows']:,}", digest)
    shown = lines({"metrics": found["metrics"]})
    figures = {line.label: f"{line.value}  {line.note}".rstrip() for line in shown}
    version = f"Version {found['version']}, round" if "version" in found else "Round"
    title = Text(f"{version} {found['round']}: {found['decision']}", "bold")
    parts = [layout.facts(_depends(found) | figures), partitions]
    if "trained" in found:
        parts += [_trained(found["trained"]), _history(found["history"])]
        where = found.get("rows_file") or "nowhere: --rows FILE writes every row with its weight"
        parts.append(layout.facts({"listed in": where}))
    return layout.render(title, *parts)


def diff_text(found: Record) -> str:
    """What changed between two rounds."""
    before, after = f"round {found['from']}", f"round {found['to']}"
    named = {
        "decision": " -> ".join(str(one) for one in found["decision"]),
        "code": _code(found),
        "rows added": f"{found['rows_added']:,}{layout.listed(found['rows_added_by_kind'])}"
        + (f", {erased:,} erased since" if (erased := found["rows_added_erased"]) else ""),
    }
    for key in ("region", "domain"):
        named[f"  by {key}"] = layout.listed(found[f"rows_added_by_{key}"]).strip(" ()") or "-"
    for key in ("partitions_added", "partitions_gone", "partitions_altered", "raters_new"):
        named[key.replace("_", " ")] = ", ".join(found[key]) or "none"
    named["raters gone"] = ", ".join(found["raters_gone"]) or "none"
    figures = {
        name: pair
        for name, pair in found["figures_changed"].items()
        if not of_a_part(name) and not name.endswith(("_low", "_high"))
    }
    return layout.render(
        Text(f"From {before} to {after}", "bold"),
        layout.facts(named),
        *_changes(("setting", before, after), found["settings_changed"]),
        *_changes(("weight of rater", before, after), found["weights_moved"]),
        *_changes(("figure", before, after), figures),
    )


def verification_text(found: Record) -> str:
    """What `audit verify` found."""
    counts = (f"{found[name]:,} {name}" for name in ("rounds", "files"))
    looked = f"{', '.join(counts)}, {found['rows']:,} rows of the ledger{_erased(found)}"
    notes = [Text(note) for note in found["notes"]]
    if not found["findings"]:
        return layout.render(Text(f"all as published: {looked}"), *notes)
    table = layout.table("round", "what", "problem", "where")
    for finding in found["findings"]:
        cells = (finding["round"] or "-", finding["what"], finding["problem"], finding["where"])
        table.add_row(*(Text(str(cell), overflow="fold") for cell in cells))
    title = f"not as published: {len(found['findings'])} (looked at {looked})"
    return layout.render(Text(title, layout.BAD), table, *notes)


def _erased(found: Record) -> str:
    """Where rows were taken out on request, such as `; erased under request 1: 12 files`."""
    requests = Counter(one["request"] for one in found.get("erased", ()))
    return "".join(
        f"; erased under request {request}: {count:,} files"
        for request, count in sorted(requests.items())
    )


def _depends(found: Record) -> dict[str, str]:
    champion, rows = found["champion_before"], found["rows"]
    against = "its own supervised model, as there was no champion"
    if champion:
        against = f"version {champion['version']}, made by round {champion['round']}"
    excluded = f"{sum(rows['excluded'].values()):,} excluded{layout.listed(rows['excluded'])}"
    states = Counter(rater["state"] for rater in found["raters"])
    return {
        "commit": found["commit"],
        "code": found["code"] + (" with uncommitted edits" if found["edited_code"] else ""),
        "previous round": found["previous"] or "none",
        "measured against": against,
        "model sha256": found["model_sha256"] or "none",
        "base": found["base"],
        "seed": str(found["seed"]),
        "data version": found["data_version"] or "unknown",
        "rows": f"{rows['accepted']:,} accepted = {rows['used']:,} usable + {excluded}"
        + (f"; {rows['erased']:,} erased since" if rows["erased"] else ""),
        "validation": _validation(found["validation"]),
        "raters": f"{len(found['raters']):,}{layout.listed(states)}",
        "overruled by people": "\n".join(map(_word, found["overrides"])) or "nothing",
        "in the way": "; ".join(reason["text"] for reason in found["reasons"]) or "nothing",
    }


def _trained(trained: Record) -> Table:
    """What each use was made of; sft and reward make the model, the others measure it."""
    table = layout.table("use", "things", "feedback rows", "sum of weights")
    for how, one in trained.items():
        weight = f"{one['weight']:,.2f}" if one["weight"] else "-"
        table.add_row(how, f"{one['things']:,}", f"{one['rows']:,}", weight)
    return table


def _history(history: Sequence[Record]) -> Table:
    table = layout.table("when", "what", "champion before", "after", "by", "why")
    for one in history:
        by = one["who"] or f"round {one['round']}"
        what = f"{one['action']} {one['version']}"
        champions = (one["champion_before"] or "-", one["champion_after"] or "-")
        table.add_row(one["at"], what, *champions, Text(by), Text(one["why"]))
    return table


def _validation(found: Record) -> str:
    failed = {one["check"]: one["failing_rows"] for one in found["failed"]}
    verdict = "all passed" if found["success"] else f"{len(found['failed'])} failed"
    blocked = f"; blocked by {found['blocked']['check']}" if found["blocked"] else ""
    return f"{found['expectations']} expectations, {verdict}{layout.listed(failed)}{blocked}"


def _word(one: Record) -> str:
    return (
        f"{one['kind']} {one['subject']}: {one['state']} by {one['who']}, {one['at']}: {one['why']}"
    )


def _code(found: Record) -> str:
    if len(set(found["code"])) == 1:
        edited = " with uncommitted edits" if any(found["edited_code"]) else ""
        return f"unchanged{edited}"
    return "\n".join([" -> ".join(found["code"]), *found["commits"]])


def _changes(
    heads: tuple[str, str, str], changed: Mapping[str, Sequence[Any]]
) -> Iterable[RenderableType]:
    table = layout.table(*heads)
    for name, pair in changed.items():
        table.add_row(Text(name, overflow="fold"), *(Text(_shown(value)) for value in pair))
    return [table] if changed else []


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
