"""Every error a user can cause, and the exit code it ends the command with.

    RoundhouseError                 1   failed: something broke; the message says what to do
    ├── UsageError                  2   wrong command, setting or file; nothing was changed
    │   ├── SettingsError           2   params.yaml or --set is wrong
    │   └── CheckoutError           2   not a usable git checkout, or tracked code was edited
    ├── InputError                  2   a feedback file cannot be read at all
    ├── LedgerError                 1   the ledger is locked, missing or damaged
    │   ├── NoLedgerError           1   there is none yet
    │   └── ChampionChangedError    1   another model was released meanwhile
    ├── BusyError                   1   another process owns the round
    │   └── OvertakenError          1   taken for dead: another process goes on
    ├── ModelError                  2   a model folder is missing, damaged or unsafe
    ├── DataError                   1   bytes differ from the record that was made of them
    ├── StorageError                1   the disk is full, or fails
    ├── RemoteError                 1   DVC's or git's remote is away or refuses
    ├── StageError                  1   a stage's process ended badly
    ├── TrackingError               1   MLflow did not take something; a round goes on without it
    ├── ServiceError                1   a server of `roundhouse up` did not start, or runs already
    ├── MemoryPlanError             1   a training cannot fit into memory
    ├── DivergenceError             1   training produced NaN or infinity
    │   └── AlarmError              1   a figure of training reached a limit that stops it
    └── Blocked                     3   a check wants a person; the round keeps number and record

A message is one line: what is wrong, where, and what to do about it. Other programs' words may be
part of it, so no message keeps the name and password of an address.
"""

import re
from typing import ClassVar

#: Of a database's address, whose driver takes a password with a slash in it, all up to the last @.
_DATABASE = re.compile(r"\b((?:postgres(?:ql)?|mysql|mariadb|mssql|oracle)(?:\+\w+)?://)[^\s'\"]*@")
_ADDRESS = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"([?&](?:password|passwd|pwd|token|secret|sslpassword)=)[^&\s'\"]*", re.I)


def masked(text: str) -> str:
    """A text with `user:password@` and `?password=` taken out of every address in it."""
    return _QUERY.sub(r"\1***", _ADDRESS.sub("", _DATABASE.sub(r"\1", text)))


class RoundhouseError(Exception):
    """Base of all errors that reach the user as one line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(masked(message))


class UsageError(RoundhouseError):
    """The command, a setting or a file is wrong; nothing was changed."""

    exit_code = 2


class SettingsError(UsageError):
    """params.yaml or an override is wrong."""


class CheckoutError(UsageError):
    """The folder is not a git checkout that a round can start from."""


class InputError(RoundhouseError):
    """A feedback file cannot be read at all (single bad rows are quarantined instead)."""

    exit_code = 2


class LedgerError(RoundhouseError):
    """The ledger is locked, missing or damaged."""


class NoLedgerError(LedgerError):
    """Nothing was ever received here; a command that reads makes no ledger."""


class ChampionChangedError(LedgerError):
    """The champion is no longer the one that a decision was made against."""


class BusyError(RoundhouseError):
    """Another process owns the round; the message names it."""


class OvertakenError(BusyError):
    """This process was taken for dead and another one owns the rounds now: it must not write."""


class ModelError(RoundhouseError):
    """A model folder is missing, damaged or unsafe to load."""

    exit_code = 2


class DataError(RoundhouseError):
    """Bytes differ from the record that was made of them."""


class StorageError(RoundhouseError):
    """The disk is full, or fails; the message names the path and what was to be written."""


class RemoteError(RoundhouseError):
    """A store of published bytes (DVC's remote or cache), or the git remote, is away or refuses."""


class StageError(RoundhouseError):
    """A stage's process ended badly."""


class TrackingError(RoundhouseError):
    """MLflow did not take something. The files hold it all: the same call later makes up for it."""


class ServiceError(RoundhouseError):
    """A server of `roundhouse up` did not start, or another `up` runs already."""


class MemoryPlanError(RoundhouseError):
    """A training cannot fit into memory; nothing was loaded yet."""


class DivergenceError(RoundhouseError):
    """Training produced NaN or infinity; the last good state is kept."""


class AlarmError(DivergenceError):
    """A figure of training reached a limit that is set to stop it; the last good state is kept."""


class Blocked(RoundhouseError):
    """A check wants a person's decision before the round may go on.

    Attributes:
        check: the name to give to `roundhouse round --accept CHECK`.
    """

    exit_code = 3

    def __init__(self, check: str, message: str) -> None:
        super().__init__(message)
        self.check = check
