"""The one door through which feedback files come into the ledger."""

from roundhouse.ingest.door import FORMATS, ingest
from roundhouse.ingest.mapping import Mapping
from roundhouse.ingest.report import Report, as_json

__all__ = ["FORMATS", "Mapping", "Report", "as_json", "ingest"]
