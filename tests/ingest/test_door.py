"""Bad input through the real door: one line each, an exit code, and nothing lost."""

import hashlib
import json
import os
import sqlite3
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roundhouse.errors import InputError, LedgerError, RoundhouseError, UsageError
from roundhouse.feedback import content_hash, parse
from roundhouse.ingest import as_json, ingest
from roundhouse.ingest.lines import MAX_LINE
from roundhouse.ledger import Counts, Ledger

Good = Callable[[int], bytes]
Write = Callable[[str, bytes], Path]
NOW = datetime(2026, 2, 1, tzinfo=UTC)
ROW: dict[str, Any] = {
    "kind": "comparison",
    "prompt": "May I?",
    "responses": ["Yes.", "No."],
    "choice": 0,
    "rater": "r17",
    "created_at": "2026-01-31T16:59:52Z",
}


def line(**change: Any) -> bytes:
    return json.dumps(ROW | change).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in ROW.items() if key != name}).encode()


BAD = [
    (b"{'kind': 1}", "not_json"),
    (b"hello", "not_json"),
    (line() + line(), "not_json"),
    (b"[" + line() + b"]", "not_object"),
    (b"null", "not_object"),
    (b"17", "not_object"),
    (line().replace(b"May", b"M\xe4y"), "bad_encoding"),
    (line().replace(b"May", b"\xed\xa0\x80"), "bad_encoding"),
    (line().replace(b"May", b"M\0y"), "nul_byte"),
    (line(prompt="a\0b"), "nul_byte"),
    (line().replace(b'"choice": 0', b'"choice": NaN'), "not_finite"),
    (line(seconds=1).replace(b'"seconds": 1', b'"seconds": Infinity'), "not_finite"),
    (line(seconds=1).replace(b'"seconds": 1', b'"seconds": -Infinity'), "not_finite"),
    (line(seconds=1).replace(b'"seconds": 1', b'"seconds": 1e999'), "not_finite"),
    (line().replace(b'"choice": 0', b'"choice": 0, "choice": 1'), "duplicate_key"),
    (line(prompt=[1]).replace(b"[1]", b'[{"role":"user","role":"user"}]'), "duplicate_key"),
    (b"[" * 100_000, "too_deep"),
    (b'{"a":' * 100_000, "too_deep"),
    (line(prompt=0).replace(b": 0", b": " + b"[" * 500 + b"]" * 500), "wrong_type"),
    (line(seconds=1).replace(b": 1", b": " + b"9" * 5000), "wrong_value"),
    (line(seconds=1).replace(b": 1", b": " + b"9" * 400), "wrong_type"),
    (line(choice=True), "wrong_type"),
    (line(choice=2), "choice_out_of_range"),
    (line(choice="left"), "choice_out_of_range"),
    (line(rater=123), "wrong_type"),
    (without("rater"), "missing_field"),
    (without("kind"), "missing_field"),
    (line(kind="vote"), "unknown_kind"),
    (line(colour="red"), "unknown_field"),
    (line(responses=["Yes.", "Yes. "]), "identical_answers"),
    (line(responses=["Yes.", " "]), "empty_answer"),
    (line(created_at="2026-02-01T00:05:01Z"), "future_time"),
    (line(created_at="2026-01-31T16:59:52"), "no_time_zone"),
    (line(created_at="2026-02-30T16:59:52Z"), "bad_time"),
    (line(rater="r\x1b[31m"), "control_character"),
    (line(id="\u202ef"), "control_character"),
    (line(prompt="\ud800"), "lone_surrogate"),
]


@pytest.mark.parametrize(("bad", "code"), BAD)
def test_a_bad_line_is_quarantined_whole_and_its_neighbours_accepted(
    ledger: Ledger, write: Write, good: Good, bad: bytes, code: str
) -> None:
    path = write("a.jsonl", b"\n".join([good(1), bad, good(2), b""]))
    report = ingest(ledger, path, "jsonl", now=NOW)
    assert report.counts == Counts(3, 2, 0, 1)
    assert report.reasons == {code: 1}
    (kept,) = ledger.quarantined()
    assert (kept.line, kept.code, kept.raw) == (2, code, bad)
    assert all("\n" not in shown and shown.isascii() for shown in report.lines())
    assert ledger.counts() == report.counts


ODD = ["../../x", "-rf", "00123", "NA", "<script>alert(1)</script>", "'; DROP TABLE feedback; --"]


@pytest.mark.parametrize("text", ODD)
def test_odd_text_is_text(ledger: Ledger, write: Write, text: str) -> None:
    path = write("a.jsonl", line(id=text, rater=text, prompt=text, comment="\u202e\x1b[2J\t"))
    assert ingest(ledger, path, "jsonl", now=NOW).accepted == 1
    (row,) = ledger.rows()
    assert (row["id"], row["rater"], row["prompt"]) == (text, text, text)
    assert row["comment"] == "\u202e\x1b[2J\t"


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\n \n"])
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_file_without_rows_is_one_line_and_exit_code_2(
    ledger: Ledger, write: Write, content: bytes, format: str
) -> None:
    refused(ledger, write("a", content), format, "nothing received")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\n".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"PAR1", "--format parquet"),
    ],
)
def test_a_file_that_is_no_text_is_one_line(
    ledger: Ledger, write: Write, content: bytes, message: str
) -> None:
    refused(ledger, write("a", content), "jsonl", message)


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_a_path_that_is_no_file_is_one_line(ledger: Ledger, tmp_path: Path, format: str) -> None:
    refused(ledger, tmp_path / "none", format, "no such file")
    refused(ledger, tmp_path, format, "a folder")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(ledger, pipe, format, "not a regular file")


def test_a_file_of_any_name(ledger: Ledger, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/-rf\n\xff\x1b[2J.jsonl"))
    path.write_bytes(line())
    report = ingest(ledger, path, "jsonl", now=NOW)
    assert report.accepted == 1 and report.lines()[0].isprintable()
    path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        ingest(ledger, path, "jsonl", now=NOW)
    assert str(caught.value).isprintable()


def refused(ledger: Ledger, path: Path, format: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ingest(ledger, path, format, now=NOW)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert ledger.batches() == []


def test_an_unknown_format_is_wrong_use(ledger: Ledger, write: Write) -> None:
    with pytest.raises(UsageError, match="formats are jsonl, csv, parquet") as caught:
        ingest(ledger, write("a.xml", b"<a/>"), "xml", now=NOW)
    assert caught.value.exit_code == 2


def test_a_byte_order_mark_is_accepted_also_where_files_were_joined(
    ledger: Ledger, write: Write, good: Good
) -> None:
    mark = b"\xef\xbb\xbf"
    path = write("a.jsonl", mark + good(1) + b"\n" + mark + good(2) + b"\n")
    assert ingest(ledger, path, "jsonl", now=NOW).counts == Counts(2, 2, 0, 0)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends_and_blank_lines_are_no_rows(
    ledger: Ledger, write: Write, good: Good, end: bytes
) -> None:
    path = write("a.jsonl", end.join([b"", good(1), b"", b"  ", good(2)]))
    assert ingest(ledger, path, "jsonl", now=NOW).counts == Counts(2, 2, 0, 0)


@pytest.mark.parametrize("cut", [20, 60, -1])
def test_half_a_line_at_the_end_is_said_to_be_cut(
    ledger: Ledger, write: Write, good: Good, cut: int
) -> None:
    path = write("a.jsonl", good(1) + b"\n" + good(2)[:cut])
    report = ingest(ledger, path, "jsonl", now=NOW)
    assert (report.counts, report.reasons) == (Counts(2, 1, 0, 1), {"truncated_line": 1})
    assert [kept.raw for kept in ledger.quarantined()] == [good(2)[:cut]]


def test_a_line_cut_within_a_character_is_said_to_be_cut(ledger: Ledger, write: Write) -> None:
    text = json.dumps(ROW | {"prompt": "Darf ich, Frau Müller?"}, ensure_ascii=False).encode()
    path = write("a.jsonl", line() + b"\n" + text[: text.index(b"\xc3") + 1])
    assert ingest(ledger, path, "jsonl", now=NOW).reasons == {"truncated_line": 1}


@pytest.mark.parametrize("size", [MAX_LINE, 50 << 20])
def test_a_huge_line_is_kept_whole_in_bounded_memory(
    ledger: Ledger, write: Write, good: Good, size: int
) -> None:
    huge = line(comment="x" * size)
    path = write("a.jsonl", b"\n".join([good(1), huge, good(2), b""]))
    tracemalloc.start()
    report = ingest(ledger, path, "jsonl", now=NOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.counts, report.reasons) == (Counts(3, 2, 0, 1), {"too_large": 1})
    (kept,) = ledger.quarantined()
    assert hashlib.sha256(kept.raw).digest() == hashlib.sha256(huge).digest()
    assert peak < 4 * MAX_LINE
    (batch,) = ledger.batches()
    assert batch.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_huge_last_line_without_an_end(ledger: Ledger, write: Write, good: Good) -> None:
    path = write("a.jsonl", good(1) + b"\n" + b"x" * (MAX_LINE + 5))
    assert ingest(ledger, path, "jsonl", now=NOW).reasons == {"too_large": 1}
    assert [len(kept.raw) for kept in ledger.quarantined()] == [MAX_LINE + 5]


def test_a_large_row_below_the_limit_is_accepted(ledger: Ledger, write: Write) -> None:
    path = write("a.jsonl", line(comment="x" * (MAX_LINE - 1000)))
    assert ingest(ledger, path, "jsonl", now=NOW).accepted == 1


def test_the_same_file_twice_and_rows_sent_again(ledger: Ledger, write: Write, good: Good) -> None:
    first = write("a.jsonl", b"\n".join(map(good, range(10))))
    second = write("b.jsonl", b"\n".join(map(good, [3, 4, 4, 20])))
    assert ingest(ledger, first, "jsonl", now=NOW).counts == Counts(10, 10, 0, 0)
    assert ingest(ledger, first, "jsonl", now=NOW).counts == Counts(10, 0, 10, 0)
    assert ingest(ledger, second, "jsonl", now=NOW).counts == Counts(4, 1, 3, 0)
    assert ledger.counts() == Counts(24, 11, 13, 0)


def test_the_same_id_with_other_content(ledger: Ledger, write: Write) -> None:
    rows = [line(id="f"), line(id="f", choice=1), line(id="g", choice=1, supersedes="f")]
    report = ingest(ledger, write("a.jsonl", b"\n".join(rows)), "jsonl", now=NOW)
    assert (report.counts, report.reasons) == (Counts(3, 2, 0, 1), {"id_conflict": 1})
    assert [(kept.line, kept.raw) for kept in ledger.quarantined()] == [(2, rows[1])]


def test_the_tolerance_for_clocks_that_run_ahead(ledger: Ledger, write: Write) -> None:
    ahead = [line(created_at=(NOW + timedelta(seconds=s)).isoformat()) for s in (60, 61)]
    report = ingest(ledger, write("a.jsonl", b"\n".join(ahead)), "jsonl", now=NOW, ahead=60)
    assert (report.accepted, report.reasons) == (1, {"future_time": 1})


def test_a_ledger_that_is_locked_in_the_middle_keeps_what_came_before(
    tmp_path: Path, write: Write, good: Good
) -> None:
    path = write("a.jsonl", b"\n".join(map(good, range(30))))
    url = f"sqlite:///{tmp_path / 'l.db'}"
    calls = iter(range(30))
    holder = sqlite3.connect(tmp_path / "l.db", isolation_level=None)

    def lock_after_the_second_chunk(done: int, size: int) -> None:
        if next(calls) == 1:
            holder.execute("BEGIN IMMEDIATE")

    with Ledger.open(url, timeout=0.1) as ledger:
        with pytest.raises(LedgerError, match="locked"):
            ingest(ledger, path, "jsonl", None, NOW, chunk=10, progress=lock_after_the_second_chunk)
        holder.close()
        assert ledger.counts() == Counts(20, 20, 0, 0)
        assert ingest(ledger, path, "jsonl", now=NOW).counts == Counts(30, 10, 20, 0)
        assert ledger.verify_chain().rows == 30


def test_reports_of_several_files_add_up(ledger: Ledger, write: Write, good: Good) -> None:
    files = [write("a.jsonl", good(1) + b"\n{"), write("b.jsonl", good(1) + b"\nx\n{")]
    total = as_json([ingest(ledger, file, "jsonl", now=NOW) for file in files])
    assert total == {
        "received": 5,
        "accepted": 1,
        "duplicate": 1,
        "quarantined": 3,
        "reasons": {"not_json": 1, "truncated_line": 2},
        "personal": {},
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, Path]:
    folder = tmp_path_factory.mktemp("any")
    return Ledger.open(f"sqlite:///{folder / 'ledger.db'}"), folder / "file"


pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([bad for bad, _ in BAD if len(bad) < 10_000]),
    st.integers(0, 30).map(lambda number: line(id=f"f-{number}", comment=f"{number % 20}")),
    st.sampled_from([b"\n", b"\r\n", b'"', b",", b"\xef\xbb\xbf", b"\0", b"id,kind\n"]),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(pieces, max_size=12), st.sampled_from([b"\n", b"\r\n", b""]), st.integers(1, 5))
def test_whatever_the_bytes_every_row_is_counted_and_none_is_lost(
    shared: tuple[Ledger, Path], parts: list[bytes], joint: bytes, chunk: int
) -> None:
    ledger, path = shared
    path.write_bytes(joint.join(parts))
    before, last = ledger.counts(), len(ledger.batches())
    try:
        report = ingest(ledger, path, "jsonl", now=NOW, chunk=chunk)
    except InputError:
        assert ledger.counts() == before and len(ledger.batches()) == last
        return
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert report.received == len([each for each in lines if each.strip()])
    assert report.received == report.accepted + report.duplicate + report.quarantined
    assert sum(report.reasons.values()) == report.quarantined
    after = ledger.counts()
    assert [a - b for a, b in zip(after, before, strict=True)] == list(report.counts)
    kept = {each.line: each.raw for each in ledger.quarantined(ledger.batches()[-1].id)}
    known = {content_hash(row) for row in ledger.rows()}
    for number, each in enumerate(lines, start=1):
        if number in kept:
            assert kept[number] in (each, each.removesuffix(b"\r"))
        elif each.strip():
            row = json.loads(each.removeprefix(b"\xef\xbb\xbf"))
            assert content_hash(parse(row, NOW)) in known


@settings(max_examples=80, deadline=None)
@given(st.lists(pieces, max_size=12), st.sampled_from([b"\n", b",", b""]))
def test_whatever_the_bytes_of_a_csv_they_are_counted_or_refused(
    shared: tuple[Ledger, Path], parts: list[bytes], joint: bytes
) -> None:
    ledger, path = shared
    path.write_bytes(joint.join(parts))
    before = ledger.counts()
    try:
        report = ingest(ledger, path, "csv", now=NOW)
    except RoundhouseError as error:
        assert error.exit_code == 2 and "\n" not in str(error)
        assert ledger.counts() == before
    else:
        assert report.received == report.accepted + report.duplicate + report.quarantined > 0
        after = ledger.counts()
        assert [a - b for a, b in zip(after, before, strict=True)] == list(report.counts)
