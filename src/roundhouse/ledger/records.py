"""What goes into the ledger and what comes out of it, as plain typed records."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypedDict

from roundhouse.feedback import Row

Action = Literal["promote", "hold", "rollback"]


class Candidate(NamedTuple):
    """A valid row on its way in; the ledger finds out whether it is new."""

    line: int
    row: Row
    raw: bytes
    """The bytes it was read from, kept where its id turns out to be taken."""
    personal: str | None = None
    """Kinds of personal data that its texts seem to hold, joined by commas."""


class Rejected(NamedTuple):
    """A row that is kept outside the ledger's chain, with the reason."""

    line: int
    code: str
    message: str
    raw: bytes
    more: Iterable[bytes] = ()
    """What follows `raw` in a line too large to be held at once; read once, as it is stored."""
    rater: str | None = None
    """Whom it names as its rater, where that could be read."""


Entry = Candidate | Rejected


class Counts(NamedTuple):
    """Rows by fate; `received` is always the sum of the other three."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One file's way in. `finished_at` is None while it is read, or where that was interrupted."""

    id: int
    name: str
    sha256: str | None
    format: str
    counts: Counts
    started_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A quarantined row; `raw` is whole, however long the line was."""

    id: int
    batch: int
    line: int
    code: str
    message: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Round:
    """A round's record. `watermark` is the last `seq` its data may hold.

    `counts` are those of all that had come to the ledger by then; None before the round's inputs
    are frozen, and where a version froze them that did not count.
    """

    number: int
    state: str
    started_at: str
    finished_at: str | None = None
    watermark: int | None = None
    decision: str | None = None
    reasons: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    data_version: str | None = None
    commit: str | None = None
    note: dict[str, Any] = field(default_factory=dict)
    inputs: str | None = None
    tries: int = 0
    counts: Counts | None = None


class RoundChanges(TypedDict, total=False):
    """The fields of a round that `Ledger.record_round` may set."""

    state: str
    finished_at: str | None
    watermark: int | None
    decision: str | None
    reasons: list[str]
    metrics: dict[str, float]
    data_version: str | None
    commit: str | None
    note: dict[str, Any]
    inputs: str | None
    counts: Counts | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one model, and the champion's version before and after.

    `round` is the round that decided, None for a rollback; `model_round` is the one that made the
    model; `who` is the person who rolled back.
    """

    id: int
    round: int | None
    action: Action
    champion_before: str | None
    champion_after: str | None
    model_round: int
    version: str
    sha256: str
    why: str
    at: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class Champion:
    """The released model. `decision` is what a conditional change must name."""

    round: int
    version: str
    sha256: str
    decision: int


@dataclass(frozen=True, slots=True)
class Override:
    """A person's decision on a check or a rater, for one round or (None) from then on."""

    id: int
    round: int | None
    kind: Literal["check", "rater"]
    subject: str
    state: str
    why: str
    who: str
    at: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """A request to erase; it does not say whom or what. `finished_at` is None until all is gone."""

    id: int
    kind: Literal["rater", "row", "retention"]
    why: str
    who: str
    at: str
    finished_at: str | None
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain that holds: rows in it, how many of them were erased, and its last value."""

    rows: int
    erased: int
    chain: str
