"""MLflow as a projection of a round's files, and the only package that imports it.

    connection.py   one experiment of one server or store: found, searched, written to
    tracker.py      a round's runs
    registry.py     a round's model version, and the alias of the champion
    copies.py       what there is of published rounds, for the audit
    artifacts.py    small files of the runs, rewritten where people's words must go

Everything in MLflow is made from files of the round's folder (logs/, out/, params.yaml,
decision.json), and every call may be repeated: after a crash or after MLflow was away, the same
calls fill in what is missing and double nothing. Runs and versions are found again by their tags,
the ledger's name among them, so that several checkouts can share a server. No text of anyone's
feedback goes in: datasets are names and digests, and sampled answers are kept only where they
answer a probe of the settings.
"""

from roundhouse.tracking.artifacts import Artifacts
from roundhouse.tracking.copies import Copies
from roundhouse.tracking.tracker import Tracker

__all__ = ["Artifacts", "Copies", "Tracker"]
