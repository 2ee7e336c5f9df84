"""`ingest`: feedback in, with the count of what became of every row."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from roundhouse.cli.output import add, here, show
from roundhouse.errors import UsageError
from roundhouse.ingest import FORMATS, Report, ingest
from roundhouse.ledger import Ledger
from roundhouse.rounds.begin import has_history


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command of this module."""
    command = add(commands, "ingest", _ingest, "take feedback in")
    command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    command.add_argument("--format", choices=FORMATS, required=True)
    command.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN")
    command.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="fixed")


def _ingest(options: argparse.Namespace) -> int:
    places = here()
    mapping, fixed = _pairs("--map", options.map), _pairs("--set", options.fixed)
    with Ledger.open(places.ledger_url, expected=has_history(places)) as ledger:
        total = Report()
        for file in options.files:
            total += ingest(ledger, file, options.format, mapping, fixed, now=datetime.now(UTC))
    show(options, total.record(), total.text())
    return 0


def _pairs(option: str, values: list[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        field, equals, text = value.partition("=")
        if not field or not equals:
            raise UsageError(f"{option} {value}: write it as FIELD=VALUE")
        pairs[field] = text
    return pairs
