"""CSV and Parquet through the door."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roundhouse.errors import InputError
from roundhouse.ingest import Mapping, ingest
from roundhouse.ingest.lines import MAX_LINE
from roundhouse.ledger import Counts, Ledger

Write = Callable[[str, bytes], Path]
NOW = datetime(2026, 2, 1, tzinfo=UTC)
TIME = "2026-01-31T16:59:52Z"
MAP = Mapping.parse(
    ["id=no", "prompt=q", "responses=a,b", "choice=pick", "rater=who", "created_at=when"],
    ["kind=comparison"],
)
HEADER = ["no", "q", "a", "b", "pick", "who", "when"]


def table(*rows: Sequence[str], header: Sequence[str] = HEADER) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


def vote(number: str, **change: str) -> list[str]:
    cells = dict(zip(HEADER, [number, f"Q {number}", "Yes.", "No.", "1", "r1", TIME], strict=True))
    return list((cells | change).values())


def test_cells_are_text_and_come_in_as_they_are(ledger: Ledger, write: Write) -> None:
    odd = vote("00123", q='"quoted", and\r\nbroken\nlines', a="NA", who="../../x")
    report = ingest(ledger, write("a.csv", table(odd, vote("-rf"))), "csv", MAP, now=NOW)
    assert report.counts == Counts(2, 2, 0, 0)
    first, second = ledger.rows()
    assert (first["id"], first["responses"][0], first["rater"]) == ("00123", "NA", "../../x")
    assert first["prompt"] == '"quoted", and\r\nbroken\nlines'
    assert (second["id"], second["choice"]) == ("-rf", 1)


def test_a_canonical_csv_needs_no_map(ledger: Ledger, write: Write) -> None:
    header = ["kind", "prompt", "response", "score", "scale.0", "scale.1", "rater", "created_at"]
    row = ["rating", "May I?", "Yes.", "4", "1", "5", "00123", TIME]
    path = write("a.csv", b"\xef\xbb\xbf" + table(row, header=header))
    assert ingest(ledger, path, "csv", now=NOW).accepted == 1
    (found,) = ledger.rows()
    assert (found["score"], found["scale"], found["rater"]) == (4, [1, 5], "00123")


def test_columns_left_out_are_named(ledger: Ledger, write: Write) -> None:
    path = write("a.csv", table([*vote("1"), "x"], header=[*HEADER, "junk"]))
    report = ingest(ledger, path, "csv", MAP, now=NOW)
    assert (report.accepted, report.left_out) == (1, ["junk"])
    assert "  columns left out: junk" in report.lines()


def test_an_unknown_column_without_a_map_is_refused(ledger: Ledger, write: Write) -> None:
    path = write("a.csv", table(["demonstration", "x"], header=["kind", "colour"]))
    report = ingest(ledger, path, "csv", now=NOW)
    assert report.counts == Counts(1, 0, 0, 1)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"2,Q,Yes.,No.,1,r1," + TIME.encode() + b",extra", "too_many_columns"),
        (b"2,Q,Yes.,No.,1,r1", "missing_field"),
        (b"2,Q,Yes.,,1,r1," + TIME.encode(), "empty_answer"),
        (b"2,Q,Yes.,No.,True,r1," + TIME.encode(), "choice_out_of_range"),
        (b"2,Q,Yes.,No.,,r1," + TIME.encode(), "missing_field"),
        (b"2,Q,Yes.,No.,1,," + TIME.encode(), "missing_field"),
        (b"2,Q,Y\xe4s.,No.,1,r1," + TIME.encode(), "bad_encoding"),
        (b"2,Q,Y\0s.,No.,1,r1," + TIME.encode(), "nul_byte"),
        (b'2,"Q"x,Yes.,No.,1,r1,' + TIME.encode(), "not_csv"),
        (b'2,"Q,Yes.,No.,1,r1,' + TIME.encode(), "not_csv"),
        (b"2,Q\rx,Yes.,No.,1,r1," + TIME.encode(), "not_csv"),
    ],
)
def test_a_bad_row_is_quarantined_whole_and_its_neighbours_accepted(
    ledger: Ledger, write: Write, bad: bytes, code: str
) -> None:
    first, last = table(vote("1")), table(vote("3"), vote("4"))[len(table()) :]
    report = ingest(ledger, write("a.csv", first + bad + b"\r\n" + last), "csv", MAP, now=NOW)
    assert (report.counts, report.reasons) == (Counts(4, 3, 0, 1), {code: 1})
    (kept,) = ledger.quarantined()
    assert (kept.line, kept.raw) == (3, bad)
    assert [row["id"] for row in ledger.rows()] == ["1", "3", "4"]


@pytest.mark.parametrize("end", [b"2,Q,Yes.,N", b'2,Q,"Yes.', b'2,Q,"Yes.\n'])
def test_half_a_row_at_the_end_is_said_to_be_cut(ledger: Ledger, write: Write, end: bytes) -> None:
    path = write("a.csv", table(vote("1")) + end)
    report = ingest(ledger, path, "csv", MAP, now=NOW)
    assert (report.counts, report.reasons) == (Counts(2, 1, 0, 1), {"truncated_line": 1})


def test_a_quote_left_open_does_not_swallow_the_rows_below(ledger: Ledger, write: Write) -> None:
    rows = [",".join(vote(str(number))).encode() for number in range(200)]
    rows[5] = rows[5].replace(b"Yes.", b'"Yes.')
    path = write("a.csv", b"\n".join([",".join(HEADER).encode(), *rows]) + b"\n")
    report = ingest(ledger, path, "csv", MAP, now=NOW)
    assert (report.counts, report.reasons) == (Counts(200, 199, 0, 1), {"not_csv": 1})
    assert [kept.raw for kept in ledger.quarantined()] == [rows[5]]


def test_a_huge_cell_is_quarantined_whole(ledger: Ledger, write: Write) -> None:
    huge = ",".join(vote("2", a="x" * (2 * MAX_LINE))).encode()
    path = write("a.csv", table(vote("1")) + huge + b"\n" + table(vote("3"))[len(table()) :])
    report = ingest(ledger, path, "csv", MAP, now=NOW)
    assert (report.counts, report.reasons) == (Counts(3, 2, 0, 1), {"too_large": 1})
    assert [kept.raw for kept in ledger.quarantined()] == [huge]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(), "holds no row"),
        (table([""] * 7), "holds no row"),
        (table(header=["no", "no"]), "stands there twice"),
        (table(vote("1"), header=["x", *HEADER[1:]]), "no column 'no'; columns are x, q"),
        (b'"open', "header cannot be read"),
        (b"x" * (MAX_LINE + 9), "header cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    ledger: Ledger, write: Write, content: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ingest(ledger, write("a.csv", content), "csv", MAP, now=NOW)
    assert "\n" not in str(caught.value) and ledger.batches() == []


def parquet(path: Path, **columns: Sequence[Any]) -> Path:
    pq.write_table(pa.table(dict(columns)), path)
    return path


def test_parquet_keeps_its_types(ledger: Ledger, tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "a.parquet",
        no=["00123", "2", "3"],
        q=["May I?"] * 3,
        answers=[["Yes.", "No."], ["Yes.", "No!"], ["Yes.", "No?"]],
        pick=[0, 1, 2],
        who=["r1"] * 3,
        when=[datetime(2026, 1, 31, 12, tzinfo=UTC)] * 3,
        seconds=[1.5, None, 2.0],
    )
    mapping = Mapping.parse(
        ["id=no", "prompt=q", "responses=answers", "choice=pick", "rater=who", "created_at=when"],
        ["kind=comparison"],
    )
    report = ingest(ledger, path, "parquet", mapping, now=NOW)
    assert (report.counts, report.reasons) == (Counts(3, 2, 0, 1), {"choice_out_of_range": 1})
    first, second = ledger.rows()
    assert (first["id"], first["seconds"]) == ("00123", 1.5)
    assert first["created_at"] == "2026-01-31T12:00:00Z"
    assert "seconds" not in second
    (kept,) = ledger.quarantined()
    assert kept.line == 3 and b'"pick":2' in kept.raw


def test_parquet_names_and_times_are_as_strict_as_json(ledger: Ledger, tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "a.parquet",
        kind=["demonstration"] * 2,
        prompt=["May I?"] * 2,
        response=["Yes."] * 2,
        rater=[17, 18],
        created_at=[datetime(2026, 1, 31, 12)] * 2,
    )
    assert ingest(ledger, path, "parquet", now=NOW).reasons == {"wrong_type": 2}


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"not parquet at all", b"PAR1" + b"\0" * 99 + b"PAR1"]
)
def test_what_is_no_parquet_is_one_line(ledger: Ledger, write: Write, content: bytes) -> None:
    with pytest.raises(InputError, match="no readable Parquet") as caught:
        ingest(ledger, write("a.parquet", content), "parquet", now=NOW)
    assert "\n" not in str(caught.value)


def test_a_damaged_parquet_is_one_line_and_keeps_what_came_before(
    ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    columns = {name: pa.array([f"{name} {n}" for n in range(4000)]) for name in ("id", "prompt")}
    pq.write_table(pa.table(columns), path, row_group_size=2000, compression="zstd")
    content = bytearray(path.read_bytes())
    second = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = second.dictionary_page_offset or second.data_page_offset
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged after row 2000") as caught:
        ingest(ledger, path, "parquet", now=NOW, chunk=900)
    assert "\n" not in str(caught.value)
    assert ledger.counts() == Counts(2000, 0, 0, 2000)


COMMON = ("kind", "prompt", "response", "rater", "created_at")
SECOND, LAST = 1_769_000_000, 2**62


def demonstrations(path: Path, rows: int, **columns: pa.Array) -> Path:
    """Demonstrations in Parquet; columns of one's own replace or join the common ones."""
    plain = {name: pa.array([f"{name} {n}" for n in range(rows)]) for name in COMMON}
    plain["kind"] = pa.array(["demonstration"] * rows)
    plain["rater"] = pa.array(["r17"] * rows)
    plain["created_at"] = pa.array([TIME] * rows)
    pq.write_table(pa.table(plain | columns), path)
    return path


def test_a_time_that_no_calendar_has_costs_its_row_alone(ledger: Ledger, tmp_path: Path) -> None:
    ticks = [SECOND * 10**6] * 1500
    ticks[1200] = LAST
    times = pa.array(ticks, pa.timestamp("us", "UTC"))
    path = demonstrations(tmp_path / "a.parquet", 1500, created_at=times)
    report = ingest(ledger, path, "parquet", now=NOW)
    assert (report.counts, report.reasons) == (Counts(1500, 1499, 0, 1), {"bad_time": 1})
    (kept,) = ledger.quarantined()
    assert kept.line == 1201
    assert json.loads(kept.raw) == {
        "kind": "demonstration", "prompt": "prompt 1200", "response": "response 1200",
        "rater": "r17", "created_at": f"<value out of range: {LAST}>",
    }  # fmt: skip
    assert kept.message == "created_at: cannot be read: date value out of range"
    assert ledger.batches()[-1].finished_at is not None


def no_utf8() -> pa.Array:
    ends, data = (pa.py_buffer(part) for part in (b"\0\0\0\0\x02\0\0\0\x04\0\0\0", b"\xe4aok"))
    return pa.Array.from_buffers(pa.string(), 2, [None, ends, data])


@pytest.mark.parametrize(
    ("cells", "code", "shown"),
    [
        (pa.array([-LAST, 0], pa.timestamp("us", "UTC")), "bad_time", f"out of range: -{LAST}"),
        (pa.array([2**30, None], pa.date32()), "bad_time", "out of range: 1073741824"),
        (pa.array([LAST, None], pa.duration("s")), "wrong_value", f"{LAST}"),
        (pa.array([[LAST], None], pa.list_(pa.timestamp("us"))), "wrong_value", f"range: {LAST}"),
        (pa.array([[LAST], None], pa.list_(pa.timestamp("us", "Foo/Bar"))), "wrong_value", "out"),
        (no_utf8(), "bad_encoding", r"\xe4a"),
    ],
    ids=["timestamp", "date", "duration", "list", "zone in a list", "text"],
)
def test_a_cell_that_cannot_be_read_is_kept_as_text_with_its_row(
    ledger: Ledger, tmp_path: Path, cells: pa.Array, code: str, shown: str
) -> None:
    path = demonstrations(tmp_path / "a.parquet", 2, comment=cells)
    report = ingest(ledger, path, "parquet", now=NOW)
    assert (report.counts, report.reasons) == (Counts(2, 1, 0, 1), {code: 1})
    (kept,) = ledger.quarantined()
    row = json.loads(kept.raw)
    assert (row["prompt"], row["rater"]) == ("prompt 0", "r17")
    assert shown in row["comment"]
    assert kept.message.startswith("comment: cannot be read: ")


def test_a_cell_that_cannot_be_read_costs_nothing_in_a_column_left_out(
    ledger: Ledger, tmp_path: Path
) -> None:
    odd = pa.array([LAST], pa.timestamp("us", "Foo/Bar"))
    path = demonstrations(tmp_path / "a.parquet", 1, seen=odd)
    mapping = Mapping.parse(["prompt=prompt"])
    report = ingest(ledger, path, "parquet", mapping, now=NOW)
    assert (report.counts, report.left_out) == (Counts(1, 1, 0, 0), ["seen"])


def test_a_parquet_column_in_an_unknown_zone_is_one_line(ledger: Ledger, tmp_path: Path) -> None:
    times = pa.array([SECOND], pa.timestamp("s", "Foo/Bar"))
    path = demonstrations(tmp_path / "a.parquet", 1, created_at=times)
    with pytest.raises(InputError, match="column 'created_at' is in the time zone 'Foo/Bar'"):
        ingest(ledger, path, "parquet", now=NOW)
    assert ledger.batches() == []


def test_a_parquet_column_that_stands_there_twice_is_refused(
    ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([["a"], ["b"]], names=["prompt", "prompt"]), path)
    with pytest.raises(InputError, match="column 'prompt' stands there twice; rename one"):
        ingest(ledger, path, "parquet", now=NOW)
    assert ledger.batches() == []
