"""The ledger: what was received, in an append-only SQL database. The only package that opens it."""

from roundhouse.ledger.erase import Erasures
from roundhouse.ledger.records import (
    Batch,
    Candidate,
    Champion,
    Counts,
    Decision,
    Erasure,
    Override,
    Quarantined,
    Rejected,
    Round,
    Verified,
)
from roundhouse.ledger.store import Ledger

__all__ = [
    "Batch",
    "Candidate",
    "Champion",
    "Counts",
    "Decision",
    "Erasure",
    "Erasures",
    "Ledger",
    "Override",
    "Quarantined",
    "Rejected",
    "Round",
    "Verified",
]
