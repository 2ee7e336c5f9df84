"""`ingest`, `quarantine`: feedback in, with what became of every row; and what was put aside."""

import argparse
import sys
from pathlib import Path
from typing import Any

from roundhouse.cli.output import add, here, show, whole_number
from roundhouse.errors import RoundhouseError
from roundhouse.ingest import FORMATS, Mapping, Report, as_json, ingest
from roundhouse.ledger import Ledger
from roundhouse.params import load
from roundhouse.rounds.begin import has_history

#: Reasons to refuse a row that was well read.
_ON_PURPOSE = {"forgotten", "expired"}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the commands of this module."""
    command = add(commands, "ingest", _ingest, "take feedback in")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="exported feedback")
    command.add_argument(
        "--format", required=True, metavar="|".join(FORMATS), help="what the files are"
    )
    command.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="FIELD=COLUMN",
        dest="columns",
        help="a field's column, where it has another name",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        dest="constants",
        help="a field that is the same in every row",
    )
    command = add(commands, "quarantine", _quarantine, "the lines that were put aside, and why")
    command.add_argument("--reason", metavar="CODE", help="those with this reason alone")
    command.add_argument(
        "--last", type=whole_number, default=20, metavar="N", help="newest N; default: 20, 0: all"
    )


def _quarantine(options: argparse.Namespace) -> int:
    """Newest last; a line that is no text is shown with its bytes escaped."""
    places = here()
    with Ledger.open(places.ledger_url, expected=has_history(places), create=False) as ledger:
        names = {batch.id: batch.name for batch in ledger.batches()}
        lines: list[dict[str, Any]] = [
            {
                "file": names[line.batch],
                "line": line.line,
                "reason": line.code,
                "message": line.message,
                "raw": line.raw.decode("utf-8", "backslashreplace"),
            }
            for line in ledger.quarantined()
            if options.reason in (None, line.code)
        ]
    found = lines[-options.last :] if options.last else lines
    texts = [
        f"{one['file']}:{one['line']}: {one['reason']}: {one['message']}\n"
        f"    {_printable(one['raw'])}"
        for one in found
    ]
    if len(found) < len(lines):
        texts.append(f"{len(lines):,} lines in all; --last 0 shows each")
    show(options, found, "\n".join(texts) or "nothing was put aside")
    return 0


def _printable(raw: str) -> str:
    """The beginning of a line that anybody may have written, safe on a terminal."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in raw[:200])


def _ingest(options: argparse.Namespace) -> int:
    """Takes the files in, one after another; what came in before an error is told all the same."""
    places = here()
    settings = load(places.root / "params.yaml")
    mapping = Mapping.parse(options.columns, options.constants)
    reports: list[Report] = []
    with Ledger.open(places.ledger_url, expected=has_history(places)) as ledger:
        try:
            for file in options.files:
                report = ingest(
                    ledger,
                    file,
                    options.format,
                    mapping,
                    ahead=settings.validation.max_ahead_seconds,
                    days=settings.retention.days,
                    redact=settings.ingest.redact,
                )
                reports.append(report)
        except RoundhouseError:
            if reports:
                show(options, as_json(reports), _text(reports))
            raise
    show(options, as_json(reports), _text(reports))
    return _misread(reports)


def _misread(reports: list[Report]) -> int:
    """1 where nothing of a file was of use, with a line on it; 0 else."""
    names = [
        each.name
        for each in reports
        if each.reasons.keys() - _ON_PURPOSE and each.quarantined == each.received
    ]
    for name in names:
        sys.stderr.write(
            f"roundhouse: {name}: every row was quarantined: see `roundhouse quarantine`; is "
            "--format right, or is --map FIELD=COLUMN wanted (docs/feedback.md)?\n"
        )
    return 1 if names else 0


def _text(reports: list[Report]) -> str:
    return "\n".join(line for report in reports for line in report.lines())
