"""The report names each reason with its first line and what to do."""

from roundhouse.ingest import Report
from roundhouse.ledger import Counts, Rejected


def test_lines_name_the_counts_and_every_reason_once_most_frequent_first() -> None:
    report = Report("a.jsonl")
    report.add(Counts(5, 3, 1, 1), [Rejected(4, "bad_time", "created_at: 'x'", b"")])
    # Conflicts come after the other rows of their chunk.
    late = [Rejected(9, "id_conflict", "id: 'b'", b""), Rejected(7, "id_conflict", "id: 'a'", b"")]
    report.add(Counts(2, 0, 0, 2), late)
    first, conflict, time = report.lines()
    assert first == "a.jsonl: 7 received, 3 accepted, 1 duplicate, 3 quarantined"
    assert conflict.startswith("  id_conflict 2: line 7: id: 'a'; ")
    assert time.startswith("  bad_time 1: line 4: created_at: 'x'; write created_at as ")
