"""Places where a test makes the program fail; each does nothing unless ROUNDHOUSE_FAIL names it.

    ROUNDHOUSE_FAIL='publish.tagged=kill'           end this process there, without a word
    ROUNDHOUSE_FAIL='stage.step[align]=kill@3'      there, the third time that `align` passes
    ROUNDHOUSE_FAIL='json.write=full;round.step=delay:5'   several, parted by semicolons

Actions: `kill` (SIGKILL for this process), `full` (no space left), `io` (an input/output error),
`delay:SECONDS`, and for a place that writes `torn` (half of the bytes arrive, then kill). With
ROUNDHOUSE_FAIL_ONCE naming a file, the first failure makes that file, and nothing fails once it is
there: a round that is run again under the same environment passes.

tests/test_failpoints.py reads the names out of the source; one that no test switches on fails it.
"""

import errno
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import IO, AnyStr, NamedTuple

VARIABLE, ONCE = "ROUNDHOUSE_FAIL", "ROUNDHOUSE_FAIL_ONCE"

_passed: Counter[str] = Counter()


class _Order(NamedTuple):
    """`name[of]=action:argument@pass`."""

    action: str
    argument: str
    nth: int


def hit(name: str, of: str = "") -> None:
    """A place that the program passes.

    Args:
        name: of the place.
        of: what it is passed for, where one place serves several, such as the stage.

    Raises:
        OSError: `full` or `io` is switched on here.
    """
    if VARIABLE in os.environ and (order := _due(name, of)):
        _obey(order, name)


def write(name: str, file: IO[AnyStr], data: AnyStr, of: str = "") -> None:
    """Writes; where `torn` is switched on, half of the data, and the process ends.

    Raises:
        OSError: `full` or `io` is switched on here.
    """
    order = _due(name, of) if VARIABLE in os.environ else None
    if order and order.action == "torn":
        file.write(data[: len(data) // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if order:
        _obey(order, name)
    file.write(data)


def _due(name: str, of: str) -> _Order | None:
    """The order for this place, if this is the pass that it waits for."""
    for part in os.environ[VARIABLE].split(";"):
        place, _, text = part.strip().partition("=")
        wanted, _, whom = place.removesuffix("]").partition("[")
        if wanted != name or (whom and whom != of):
            continue
        action, _, nth = text.partition("@")
        action, _, argument = action.partition(":")
        _passed[place] += 1
        if _passed[place] == int(nth or 1) and _first():
            return _Order(action, argument, int(nth or 1))
    return None


def _first() -> bool:
    """Whether nothing failed yet, where only one failure is wanted."""
    once = os.environ.get(ONCE)
    if not once:
        return True
    try:
        Path(once).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _obey(order: _Order, name: str) -> None:
    if order.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if order.action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    if order.action == "io":
        raise OSError(errno.EIO, os.strerror(errno.EIO), name)
    if order.action == "delay":
        time.sleep(float(order.argument))
        return
    raise ValueError(f"{VARIABLE}: {order.action} is no action")
