"""The command line: `roundhouse COMMAND`, in the checkout that it is called in.

Exit codes: 0 promoted, held, skipped or done; 1 failed; 2 wrong use or settings; 3 blocked.
Every command takes --json; errors are one line on standard error.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from roundhouse import storage
from roundhouse.cli import audits, feedback, history, planning, privacy, rounds, service
from roundhouse.errors import RoundhouseError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except RoundhouseError as error:
        return _failed(options, error)
    except KeyboardInterrupt:
        sys.stderr.write("roundhouse: stopped\n")
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        said = storage.worded(error, Path(error.filename or "."))
        if said is None and not (error.filename and error.strerror):
            raise
        return _failed(options, said or RoundhouseError(f"{error.filename}: {error.strerror}"))
    return code


class _Version(argparse.Action):
    """Asks for the version only when it is wanted: a checkout that is not installed has none."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        try:
            found = metadata.version("roundhouse")
        except metadata.PackageNotFoundError:
            found = "(not installed)"
        sys.stdout.write(f"roundhouse {found}\n")
        parser.exit()


def _failed(options: argparse.Namespace, error: RoundhouseError) -> int:
    if getattr(options, "json", False):
        sys.stdout.write(json.dumps({"error": str(error), "exit_code": error.exit_code}) + "\n")
    sys.stderr.write(f"roundhouse: {error}\n")
    return error.exit_code


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="roundhouse", description=(__doc__ or "").split("\n\n")[0])
    top.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for module in (feedback, rounds, audits, history, planning, privacy, service):
        module.register(commands)
    return top
