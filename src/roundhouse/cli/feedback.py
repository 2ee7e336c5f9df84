"""`ingest`: feedback in, with the count of what became of every row."""

import argparse
from pathlib import Path

from roundhouse.cli.output import add, here, show
from roundhouse.errors import RoundhouseError
from roundhouse.ingest import FORMATS, Mapping, Report, as_json, ingest
from roundhouse.ledger import Ledger
from roundhouse.params import load
from roundhouse.rounds.begin import has_history


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command of this module."""
    command = add(commands, "ingest", _ingest, "take feedback in")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    command.add_argument("--format", required=True, metavar="|".join(FORMATS))
    command.add_argument(
        "--map", action="append", default=[], metavar="FIELD=COLUMN", dest="columns"
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", dest="constants"
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
    return 0


def _text(reports: list[Report]) -> str:
    return "\n".join(line for report in reports for line in report.lines())
