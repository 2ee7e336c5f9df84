"""`ingest`: feedback in, with the count of what became of every row."""

import argparse
import sys
from pathlib import Path

from roundhouse.cli.output import add, here, show
from roundhouse.errors import RoundhouseError
from roundhouse.ingest import FORMATS, Mapping, Report, as_json, ingest
from roundhouse.ledger import Ledger
from roundhouse.params import load
from roundhouse.rounds.begin import has_history

#: Reasons to refuse a row that was well read.
_ON_PURPOSE = {"forgotten", "expired"}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command of this module."""
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
            f"roundhouse: {name}: every row was quarantined: is --format right, or is --map "
            "FIELD=COLUMN wanted? See docs/feedback.md\n"
        )
    return 1 if names else 0


def _text(reports: list[Report]) -> str:
    return "\n".join(line for report in reports for line in report.lines())
