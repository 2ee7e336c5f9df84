"""`forget`: a person's rows, one row, or what is too old, out of every place."""

import argparse
from dataclasses import asdict
from typing import Any

from roundhouse.cli.output import add, here, show
from roundhouse.ledger import Erasure, Erasures, Ledger
from roundhouse.params import load
from roundhouse.report import layout
from roundhouse.rounds import forget
from roundhouse.rounds.begin import has_history


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command of this module."""
    group = commands.add_parser("forget", help="erase feedback from every place")
    kinds = group.add_subparsers(metavar="WHAT", required=True)
    command = add(kinds, "rater", _rater, "everything of one person")
    command.add_argument("id", metavar="ID")
    command.add_argument("--why", required=True, metavar="TEXT", help="kept with the request")
    command = add(kinds, "row", _row, "one row, with its other versions")
    command.add_argument("id", metavar="ID")
    command.add_argument("--why", required=True, metavar="TEXT", help="kept with the request")
    add(kinds, "expired", _expired, "rows older than retention.days; unfinished requests too")
    add(kinds, "list", _list, "the requests so far")


def _rater(options: argparse.Namespace) -> int:
    _show(options, [forget.forget_rater(here(), options.id, options.why)])
    return 0


def _row(options: argparse.Namespace) -> int:
    _show(options, [forget.forget_row(here(), options.id, options.why)])
    return 0


def _expired(options: argparse.Namespace) -> int:
    places = here()
    days = load(places.root / "params.yaml").retention.days
    _show(options, forget.forget_expired(places, days), none="nothing is older than retention.days")
    return 0


def _list(options: argparse.Namespace) -> int:
    places = here()
    with Ledger.open(places.ledger_url, expected=has_history(places), create=False) as ledger:
        _show(options, Erasures(ledger).all(), none="nothing was ever erased")
    return 0


def _show(options: argparse.Namespace, requests: list[Erasure], none: str = "") -> None:
    value = [asdict(request) for request in requests]
    text = "\n".join(line for request in requests for line in _lines(request))
    show(options, value, text or none)


def _used(made: dict[str, Any]) -> str:
    """What the rows were used for, such as `, used: judge 11, evaluate 7`."""
    uses = ", ".join(f"{how} {count:,}" for how, count in made.get("used", {}).items())
    return f", used: {uses}" if uses else ", none of them used"


def _lines(request: Erasure) -> list[str]:
    report = request.report
    state = f"finished {request.finished_at}" if request.finished_at else "unfinished: say it again"
    gone = report.get("replaced", {})
    lines = [
        f"request {request.id} ({request.kind}, {request.at}): {state}",
        f"  {report.get('rows', 0):,} rows and {report.get('quarantined', 0):,} quarantined lines,"
        f" in {len(gone):,} published files",
    ]
    for made in report.get("rounds", []):
        weight = (
            f", weight {layout.number(made['weight'], 2)}" if made["weight"] is not None else ""
        )
        lines.append(
            f"  round {made['round']}, version {made['version'] or 'none'}: had"
            f" {made['rows']:,} of the rows{_used(made)}{weight}; its weights stay"
        )
    if report.get("look_at"):
        lines.append(f"  not ours to rewrite, so look at: {', '.join(report['look_at'])}")
    return lines
