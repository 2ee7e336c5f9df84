"""`audit`: from a model back to its rows, from a row forward to its models, every hash checked."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from roundhouse import jsonl, report
from roundhouse.cli.output import add, here, ledger_of, met, opened, outcome, round_number, show
from roundhouse.rounds import audit, traces, verify


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the commands of this module."""
    group = commands.add_parser("audit", help="lineage, differences, and every hash checked")
    kinds = group.add_subparsers(metavar="WHAT", required=True)
    command = add(kinds, "round", _round, "what a round's result depends on")
    command.add_argument("number", type=round_number, metavar="N")
    command = add(kinds, "model", _model, "what a registered model version was made from")
    command.add_argument("version", metavar="VERSION", help="such as 3, or NAME/3")
    command.add_argument(
        "--rows",
        type=Path,
        metavar="FILE",
        help="write every row that trained it here (JSON Lines)",
    )
    command = add(kinds, "rater", _rater, "the rounds and models a rater's rows went into")
    command.add_argument("rater", metavar="ID")
    command = add(kinds, "row", _row, "where a row came from, and how each round used it")
    command.add_argument("row", metavar="ID")
    command = add(kinds, "file", _file, "what became of an ingested file")
    command.add_argument("file", metavar="NAME|SHA256")
    command = add(kinds, "diff", _diff, "what changed between two rounds")
    command.add_argument("before", type=round_number, metavar="N", help="the earlier round")
    command.add_argument("after", type=round_number, metavar="M", help="the later round")
    add(kinds, "verify", _verify, "recompute the hashes of everything published")


def _round(options: argparse.Namespace) -> int:
    found = audit.audit_round(*opened(), options.number)
    show(options, found, report.audit_text(found))
    return 0


def _model(options: argparse.Namespace) -> int:
    places, ledger = opened()
    found = audit.audit_model(places, ledger, options.version)
    rows = audit.trained_rows(places, found["round"])
    if options.rows:
        found["rows_file"] = str(options.rows)
        with outcome(options.rows):
            jsonl.write(options.rows, rows)
    if options.json and not options.rows:
        _write_with_rows(found, rows)
    else:
        show(options, found, report.audit_text(found))
    return 0


def _write_with_rows(found: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object whose last key lists the rows, written as they are read: there are many."""
    head = json.dumps(found, indent=2, ensure_ascii=False)
    sys.stdout.write(head.removesuffix("\n}") + ',\n  "trained_rows": [')
    for number, row in enumerate(rows):
        sys.stdout.write(("," if number else "") + "\n    " + jsonl.dumps(row))
    sys.stdout.write("\n  ]\n}\n")


def _rater(options: argparse.Namespace) -> int:
    found = traces.audit_rater(*opened(), options.rater)
    show(options, found, report.rater_text(found))
    return 0


def _row(options: argparse.Namespace) -> int:
    found = traces.audit_row(*opened(), options.row)
    show(options, found, report.row_text(found))
    return 0


def _file(options: argparse.Namespace) -> int:
    found = traces.audit_file(*opened(), Path(options.file).name)
    show(options, found, report.file_text(found))
    return 0


def _diff(options: argparse.Namespace) -> int:
    found = audit.audit_diff(*opened(), options.before, options.after)
    show(options, found, report.diff_text(found))
    return 0


def _verify(options: argparse.Namespace) -> int:
    places = here()
    all_rounds = met(places)
    found = verify.verify(places, ledger_of(places), all_rounds)
    value: dict[str, Any] = {
        "rounds": found.rounds,
        "files": found.files,
        "rows": found.rows,
        "findings": [vars(finding) for finding in found.findings],
        "notes": list(found.notes),
        "erased": [one._asdict() for one in found.erased],
    }
    show(options, value, report.verification_text(value))
    return 1 if found.findings else 0
