"""`raters`, `rollback`, `chat`: who rated, and the champion."""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from roundhouse import rater_plots, report
from roundhouse.cli.output import add, opened, outcome, round_number, show
from roundhouse.errors import UsageError
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import audit, release
from roundhouse.rounds.git import round_tags
from roundhouse.rounds.inputs import AUTO
from roundhouse.rounds.shelf import Shelf
from roundhouse.storage import writing


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the commands of this module."""
    command = add(commands, "raters", _raters, "the raters of a round: reliability, state, weight")
    command.add_argument("--round", type=round_number, metavar="N", help="default: the last one")
    command.add_argument(
        "set", nargs="*", metavar="set ID STATE", help="a person's word on a rater"
    )
    command.add_argument("--why", default="", metavar="TEXT", help="with set: the reason, kept")
    command.add_argument("--page", type=Path, metavar="FILE", help="write the page for their lead")
    command = add(commands, "rollback", _rollback, "put an earlier champion back")
    command.add_argument(
        "number", type=round_number, nargs="?", metavar="N", help="the round whose model"
    )
    command.add_argument("--why", default="rolled back by hand", metavar="TEXT")
    command = add(commands, "chat", _chat, "talk to the champion")
    command.add_argument("--prompt", metavar="TEXT", help="one answer, then end")
    command.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")


def _set_rater(options: argparse.Namespace, places: Locations, ledger: Ledger) -> int:
    if len(options.set) != 3 or options.set[0] != "set" or not options.why.strip():
        raise UsageError("write it as: roundhouse raters set ID STATE --why TEXT")
    from roundhouse.raters.verdict import FACTOR  # noqa: PLC0415 - pandas, only here

    _, rater, state = options.set
    if state not in (*FACTOR, AUTO):
        raise UsageError(
            f"{state}: no such state; states are {', '.join(FACTOR)}, and {AUTO}, with which the "
            "tests decide again"
        )
    known = _has_rows(ledger, rater)
    if not known and (numbers := round_tags(places.root)):
        rater = audit.named(Shelf(places), tag_name(numbers[-1]), rater)
        known = _has_rows(ledger, rater)
    ledger.add_override(None, rater, state, options.why.strip(), kind="rater")
    text = f"{rater} is {state} from the next round on, their votes of earlier rounds included"
    if state == AUTO:
        text = f"the tests decide on {rater} again from the next round on"
    if not known:
        text += f"; the ledger has no row of {rater} yet: is the name right?"
    show(options, {"rater": rater, "state": state, "known": known}, text)
    return 0


def _has_rows(ledger: Ledger, rater: str) -> bool:
    return next(ledger.rows(rater=rater), None) is not None


def _raters(options: argparse.Namespace) -> int:
    if options.why and not options.set:
        raise UsageError("--why goes with set: roundhouse raters set ID STATE --why TEXT")
    places, ledger = opened()
    if options.set:
        return _set_rater(options, places, ledger)
    numbers = round_tags(places.root)
    number = options.round or (numbers[-1] if numbers else None)
    if number is None:
        raise UsageError("there is no published round yet: run `roundhouse round`")
    shelf, tag = Shelf(places), audit.published_tag(places, number)
    if options.page:
        return _write_page(options, number, audit.story(shelf, tag))
    raters = audit.raters(shelf, tag)
    show(options, raters, report.raters_table(number, raters))
    return 0


def _write_page(options: argparse.Namespace, number: int, story: dict[str, Any]) -> int:
    with TemporaryDirectory(prefix="roundhouse-") as scratch:
        text = report.rater_page(number, story, rater_plots.draw(story, Path(scratch)))
    with outcome(options.page), writing(options.page, need=len(text)):
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(text, encoding="utf-8")
    show(options, {"round": number, "page": str(options.page)}, f"written: {options.page}")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    places, ledger = opened()
    champion = release.rollback(places, ledger, options.number, options.why)
    text = f"the champion is now version {champion.version}, made by round {champion.round}"
    show(options, {"round": champion.round, "version": champion.version}, text)
    return 0


def _chat(options: argparse.Namespace) -> int:
    places, ledger = opened()
    answer = release.talk(places, ledger, options.temperature)
    if options.prompt is not None:
        text = answer(options.prompt)
        show(options, {"prompt": options.prompt, "response": text}, text)
        return 0
    asks = sys.stdin.isatty()
    while True:
        if asks:
            sys.stdout.write("> ")
            sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return 0
        if line.strip():
            show(options, {"prompt": line.strip(), "response": (r := answer(line.strip()))}, r)
