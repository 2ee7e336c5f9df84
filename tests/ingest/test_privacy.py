"""What the door does with personal data, with rows that are too old, and with forgotten people."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roundhouse import personal
from roundhouse.ingest import Mapping, as_json, ingest
from roundhouse.ingest.redaction import redacted
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


SECRETS = {
    "phone": "0171 2345678",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "e-mail": "ann@example.org",
}


def kept_lines(ledger: Ledger, file: Path, format: str = "jsonl") -> list[bytes]:
    """What the quarantine keeps of a file whose texts are redacted."""
    before = len(list(ledger.quarantined()))
    ingest(ledger, file, format, now=NOW, redact=True)
    return [one.raw for one in ledger.quarantined()][before:]


@pytest.mark.parametrize("gap", ["\n", "\t", "\r", "\f", "\b", '"', "\\"])
@pytest.mark.parametrize("kind", SECRETS)
def test_an_escape_before_a_find_hides_it_from_no_quarantined_line(
    kind: str, gap: str, ledger: Ledger, write: Write
) -> None:
    text = f"it is{gap}{SECRETS[kind]}{gap}thanks"
    first = {"id": "a", "prompt": text, "comment": "as it was"}
    good = write("good.jsonl", line(**first))
    assert ingest(ledger, good, "jsonl", now=NOW, redact=True).accepted == 1
    assert next(ledger.rows())["prompt"] == f"it is{gap}[{kind}]{gap}thanks"

    no_zone = line(prompt=text, created_at="2026-01-31T16:59:52")
    bad = write("bad.jsonl", line(**first | {"comment": "another"}) + no_zone)
    no_time_zone, conflict = sorted(kept_lines(ledger, bad), key=len)
    for raw in (conflict, no_time_zone):
        assert json.loads(raw)["prompt"] == f"it is{gap}[{kind}]{gap}thanks", "JSON, as it was"
    assert json.loads(no_time_zone) == ROW | {
        "prompt": f"it is{gap}[{kind}]{gap}thanks",
        "created_at": "2026-01-31T16:59:52",
    }
    (cut,) = kept_lines(ledger, write("cut.jsonl", line(prompt=text)[:-30]))
    assert f"[{kind}]".encode() in cut
    assert SECRETS[kind].encode() not in cut


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("e-mail", r"ann\u0040example.org"),
        ("phone", r"\u0030171 2345678"),
        ("phone", r"\u002b44\u00a0\u002020 7946 0958"),
        ("card", r"4111\u00201111 1111 111\u0031"),
    ],
)
def test_signs_written_as_escapes_are_found_in_quarantined_lines(
    kind: str, written: str, ledger: Ledger, write: Write
) -> None:
    text = written.replace(r"\u00a0", "")
    bad = line(choice=7, prompt="SECRET").replace(b"SECRET", b"\\ud83d\\ude00 " + text.encode())
    (raw,) = kept_lines(ledger, write("bad.jsonl", bad))
    assert json.loads(raw)["prompt"] == f"\U0001f600 [{kind}]"
    assert raw == bad[:-1].replace(text.encode(), f"[{kind}]".encode()), "all else to the byte"


@pytest.mark.parametrize(
    ("field", "left"),
    [
        ('"notes": ["it is\\n0171 2345678"]', '"notes": ["it is\\n[phone]"]'),
        ('"paid_with": 4111111111111111', '"paid_with": "[card]"'),
        ('"token": "Ab3dEf6hIj9kLm2nOp5q"', '"[key]": "[key]"'),
        ('"token": 12345678901234567890', '"[key]": "[key]"'),
    ],
)
def test_a_redacted_line_stays_json_whatever_field_a_find_is_in(
    field: str, left: str, ledger: Ledger, write: Write
) -> None:
    bad = line()[:-2] + b", " + field.encode() + b"}\n"
    (raw,) = kept_lines(ledger, write("bad.jsonl", bad))
    assert raw == bad[:-1].replace(field.encode(), left.encode())
    assert json.loads(raw).items() > ROW.items()


def test_escapes_hide_nothing_in_quarantined_rows_of_tables(
    ledger: Ledger, write: Write, tmp_path: Path
) -> None:
    text = "My number is:\n0171 2345678"
    row = ROW | {"prompt": text, "created_at": "soon"}
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({name: [value] for name, value in row.items()}), path)
    (raw,) = kept_lines(ledger, path, "parquet")
    assert json.loads(raw)["prompt"] == "My number is:\n[phone]"

    row = ROW | {"created_at": "soon", "responses": json.dumps([text, "No."])}
    cells = io.StringIO()
    csv.writer(cells).writerows([list(row), list(row.values())])
    (raw,) = kept_lines(ledger, write("t.csv", cells.getvalue().encode()), "csv")
    assert raw.count(b"[phone]") == 1 and b"2345678" not in raw


def test_the_reason_of_a_quarantined_line_is_redacted_too(ledger: Ledger, write: Write) -> None:
    bad = write("bad.jsonl", line(created_at="ask\nann@example.org"))
    report = ingest(ledger, bad, "jsonl", now=NOW, redact=True)
    (kept,) = ledger.quarantined()
    assert kept.message == r"created_at: 'ask\n[e-mail]' is no date and time"
    assert report.examples["bad_time"] == (1, kept.message)


PIECES = ["\n", "\t", '"', "\\", "n", "\u00e9", "\U0001f600", "\ud83d", " ", *SECRETS.values()]


@given(
    st.dictionaries(
        st.sampled_from(["prompt", "response", "comment"]),
        st.lists(st.sampled_from(PIECES)).map("".join),
    ),
    st.booleans(),
)
def test_a_line_keeps_of_each_text_what_an_accepted_row_would(
    row: dict[str, str], ascii_only: bool
) -> None:
    written = json.dumps(row, ensure_ascii=ascii_only or "\ud83d" in "".join(row.values()))
    assert json.loads(redacted(written.encode())) == personal.redacted(json.loads(written))


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
