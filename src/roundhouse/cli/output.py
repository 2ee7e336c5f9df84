"""What the commands share: the checkout they run in, and JSON or text out."""

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roundhouse.errors import RemoteError, SettingsError, UsageError
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.params import load
from roundhouse.rounds.begin import has_history, meet_others
from roundhouse.rounds.git import toplevel

Run = Callable[[argparse.Namespace], int]


def here() -> Locations:
    """The places of the checkout that the command is called in.

    Raises:
        CheckoutError: it is called outside a git checkout.
    """
    return Locations(toplevel(Path.cwd()))


def opened() -> tuple[Locations, Ledger]:
    """The places of the checkout and its ledger, for commands that make neither.

    Rounds of other machines that share the git remote are fetched first, where it answers.

    Raises:
        NoLedgerError: nothing was ever received here.
    """
    places = here()
    met(places)
    return places, ledger_of(places)


def met(places: Locations) -> bool:
    """Fetches rounds of other machines that share the git remote; says where it does not answer."""
    try:
        meet_others(places.root, load(places.root / "params.yaml"))
    except (RemoteError, SettingsError) as error:
        sys.stderr.write(f"roundhouse: {error}; going on with the rounds that are here\n")
        return False
    return True


def ledger_of(places: Locations) -> Ledger:
    """The ledger of a checkout, which must be there.

    Raises:
        NoLedgerError: nothing was ever received here.
    """
    return Ledger.open(places.ledger_url, expected=has_history(places), create=False)


def add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Run, text: str
) -> argparse.ArgumentParser:
    """A subcommand with --json."""
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)
    return command


def whole_number(text: str) -> int:
    """An option's value that counts something.

    Raises:
        ArgumentTypeError: it is no number, or under 0.
    """
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def round_number(text: str) -> int:
    """A round's number, as the ledger can hold it.

    Raises:
        ArgumentTypeError: it is none.
    """
    return _bounded(text, 2**31 - 1)


def port(text: str) -> int:
    """A TCP port to listen at.

    Raises:
        ArgumentTypeError: there is no such port.
    """
    return _bounded(text, 65535)


def _bounded(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
    return int(text)


@contextmanager
def outcome(path: Path) -> Iterator[None]:
    """While a file that an option names is written.

    Raises:
        UsageError: it cannot be written there. Folders that lack are made by the writer.
    """
    try:
        # Said before anything is written beside it.
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}): give another file"
        ) from None


def show(options: argparse.Namespace, value: Any, text: str) -> None:
    """Prints the value as JSON where --json is given, else the text."""
    sys.stdout.write(
        (json.dumps(value, indent=2, ensure_ascii=False) if options.json else text) + "\n"
    )
