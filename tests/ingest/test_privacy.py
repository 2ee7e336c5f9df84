"""What the door does with personal data, with rows that are too old, and with forgotten people."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roundhouse.ingest import Mapping, as_json, ingest
from roundhouse.ledger import Erasures, Ledger
from tests.ingest.conftest import ROW, Write

NOW = datetime(2026, 2, 1, tzinfo=UTC)
MAIL = {"prompt": "I am ann@example.org, may I?", "comment": "or call 020 7946 0958"}


def line(**change: Any) -> bytes:
    return json.dumps(ROW | change).encode() + b"\n"


def test_personal_data_is_counted_and_marked(ledger: Ledger, write: Write) -> None:
    file = write("a.jsonl", line(**MAIL) + line(prompt="x@example.org?") + line() + b"a@b.org\n")
    report = ingest(ledger, file, "jsonl", now=NOW)
    assert report.personal == {"e-mail": 2, "phone": 1}
    assert as_json([report, report])["personal"] == {"e-mail": 4, "phone": 2}
    assert "looks like personal data, rows: e-mail 2, phone 1" in "\n".join(report.lines())
    assert next(ledger.rows())["prompt"] == MAIL["prompt"], "kept as it came"


def test_redacted_texts_are_what_is_kept(ledger: Ledger, write: Write, tmp_path: Path) -> None:
    file = write("a.jsonl", line(**MAIL) + line(choice=7, **MAIL) + b"ann@example.org wrote\n")
    report = ingest(ledger, file, "jsonl", now=NOW, redact=True)
    assert (report.accepted, report.quarantined) == (1, 2)
    (row,) = ledger.rows()
    assert (row["prompt"], row["comment"]) == ("I am [e-mail], may I?", "or call [phone]")
    again = ingest(ledger, file, "jsonl", now=NOW, redact=True)
    assert again.duplicate == 1
    ledger.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert b"ann@example" not in kept
    assert b"7946" not in kept
    ledger.verify_chain()


@pytest.mark.parametrize(("days", "accepted"), [(0, 1), (2, 1), (1, 1)])
def test_rows_within_their_time_come_in(
    days: int, accepted: int, ledger: Ledger, write: Write
) -> None:
    file = write("a.jsonl", line(created_at="2026-01-31T00:00:00Z"))
    assert ingest(ledger, file, "jsonl", now=NOW, days=days).accepted == accepted


def test_a_row_that_is_too_old_is_counted_and_not_kept(ledger: Ledger, write: Write) -> None:
    file = write("a.jsonl", line(created_at="2026-01-30T23:59:59Z") + line())
    report = ingest(ledger, file, "jsonl", now=NOW, days=1)
    assert (report.received, report.accepted, report.reasons) == (2, 1, {"expired": 1})
    assert [one.raw for one in ledger.quarantined()] == [b""]


def test_a_forgotten_rater_is_refused_under_any_column(ledger: Ledger, write: Write) -> None:
    mapping = Mapping.parse(["rater=who", "prompt=q"], ["kind=rating", "scale=1,5", "score=3"])
    table = (
        b"who,q,response,created_at\nann,Q,A,2026-01-31T00:00:00Z\nann,Q,,2026-01-31T00:00:00Z\n"
    )
    file = write("t.csv", table)
    first = ingest(ledger, file, "csv", mapping, now=NOW)
    assert (first.accepted, first.reasons) == (1, {"empty_answer": 1})
    Erasures(ledger).forget_rater("ann", "asked")
    again = ingest(ledger, file, "csv", mapping, now=NOW)
    assert (again.received, again.reasons) == (2, {"forgotten": 2})
    assert [one.raw for one in ledger.quarantined()][-2:] == [b"", b""]
    assert ledger.counts()._asdict() == {
        "received": 4, "accepted": 1, "duplicate": 0, "quarantined": 3
    }  # fmt: skip


def test_a_name_given_for_a_whole_file_is_known_of_its_quarantined_rows(
    ledger: Ledger, write: Write
) -> None:
    mapping = Mapping.parse([], ["rater=ann"])
    row = {key: value for key, value in ROW.items() if key != "rater"}
    file = write("t.jsonl", json.dumps(row | {"choice": 9}).encode())
    ingest(ledger, file, "jsonl", mapping, now=NOW)
    request = Erasures(ledger).forget_rater("ann", "asked")
    Erasures(ledger).clear(request.id)
    (left,) = ledger.quarantined()
    assert (left.raw, left.code) == (b"", "choice_out_of_range")
