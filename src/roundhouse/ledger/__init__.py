"""The ledger: what was received, in an append-only SQL database. The only package that opens it."""

from roundhouse.ledger.records import (
    Batch,
    Candidate,
    Champion,
    Counts,
    Decision,
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
    "Ledger",
    "Override",
    "Quarantined",
    "Rejected",
    "Round",
    "Verified",
]
