"""Requests to erase, in the ledger on each database."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from roundhouse.errors import DataError, LedgerError, UsageError
from roundhouse.ledger import Candidate, Erasures, Ledger, Rejected
from roundhouse.ledger.records import Entry, Verified

WHY = "asked by letter"


def row(id: str, rater: str = "ann", at: str = "2026-01-01T00:00:00Z", **more: Any) -> Candidate:
    """A demonstration on its way in."""
    fields = {"id": id, "kind": "demonstration", "prompt": "P", "response": f"says {id}"}
    return Candidate(1, fields | {"rater": rater, "created_at": at} | more, b"")


def take(ledger: Ledger, *entries: Entry, name: str = "f") -> dict[str, int]:
    """Takes entries in and returns the counts."""
    counts, _ = ledger.append(ledger.start_batch(name, "jsonl"), entries)
    return counts._asdict()


def ids(ledger: Ledger) -> list[str]:
    """The rows that readers see."""
    return [one["id"] for one in ledger.rows()]


def everything(url: str) -> str:
    """All cells of all tables."""
    engine = create_engine(url)
    with engine.connect() as connection:
        names = (
            "feedback", "quarantine", "quarantine_part", "batch", "override", "erasure",
            "forgotten", "decision", "round",
        )  # fmt: skip
        found = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in names]
    engine.dispose()
    cells = [cell for table in found for line in table for cell in line]
    # One driver hands bytes out as they are, the other a view on them.
    cells = [bytes(cell) if isinstance(cell, memoryview) else cell for cell in cells]
    return repr(cells)


def forget(ledger: Ledger, request: int) -> None:
    """What is done once the other places are clear."""
    erasures = Erasures(ledger)
    erasures.clear(request)
    erasures.compact()
    erasures.finish(request)


def test_a_rater_leaves_no_name_and_a_chain_that_holds(ledger: Ledger, url: str) -> None:
    lines = [Rejected(n, "not_json", "m", raw) for n, raw in enumerate(
        (b'{"who": "ann", "x": 1}', b"7,ann,3", b'{"rater": "ann', b"joanna,annie")
    )]  # fmt: skip
    lines.append(Rejected(9, "wrong_type", "m", b"without a name", rater="ann"))
    lines.append(Rejected(10, "too_large", "m", b"long", more=[b'"rater":"ann"', b"..."]))
    take(ledger, row("a"), row("b", "bob"), row("c"), *lines, name="votes_ann_joanna.jsonl")
    ledger.add_override(None, "ann", "watch", "ann is tired", kind="rater")
    note = {"accept": [["balance", "ann was ill"]], "settings": "seed: 17"}
    number = ledger.take_round_number(note=note)
    ledger.finish_round(number, state="blocked", reasons=["balance: ann chose the first"])
    before = ledger.chain(3)
    request = Erasures(ledger).forget_rater("ann", "ann asked")
    assert ids(ledger) == ["b"], "hidden from the request on"
    assert ledger.row("a") is None
    assert [seq for seq, _ in Erasures(ledger).rows(request.id)] == [1, 3]
    assert Erasures(ledger).raters(request.id) == {"ann"}
    forget(ledger, request.id)
    left = everything(url)
    assert "'ann" not in left
    assert "ann'" not in left
    assert "joanna,annie" in left
    assert "[erased] asked" in left
    assert "votes_[erased]_joanna.jsonl" in left
    round_ = ledger.round(number)
    assert round_ is not None
    assert round_.note == note | {"accept": [["balance", "[erased] was ill"]]}
    assert round_.reasons == ["balance: [erased] chose the first"]
    found = ledger.verify_chain()
    assert (found.rows, found.erased, found.chain) == (3, 2, before)
    assert ledger.counts()._asdict() == {
        "received": 9, "accepted": 3, "duplicate": 0, "quarantined": 6
    }  # fmt: skip


def test_what_was_forgotten_is_refused_without_a_trace(ledger: Ledger, url: str) -> None:
    take(ledger, row("a"), row("b", "bob"))
    forget(ledger, Erasures(ledger).forget_rater("ann", WHY).id)
    forget(ledger, Erasures(ledger).forget_row("b", WHY).id)
    counts = take(
        ledger,
        row("a"),
        row("new"),
        row("b", "bob"),
        row("b", "carl", response="another text"),
        row("b2", "carl", supersedes="b"),
        row("content", "bob", response="says b"),
        Rejected(7, "not_json", "m", b'{"rater": "ann", '),
        Rejected(8, "not_json", "m", b"x", rater="ann"),
        row("ok", "bob"),
        Rejected(9, "not_json", "m", b"kept"),
        name="export_ann.jsonl",
    )
    assert counts == {"received": 10, "accepted": 1, "duplicate": 0, "quarantined": 9}
    assert ids(ledger) == ["ok"]
    lines = list(ledger.quarantined())
    assert [line.code for line in lines].count("forgotten") == 8
    assert {line.raw for line in lines} == {b"", b"kept"}
    assert "ann" not in everything(url)
    take(ledger, name="ann_joanna.jsonl")
    assert ledger.batches()[-1].name == "[erased]_joanna.jsonl"


def test_a_locked_ledger_is_not_compacted_and_says_so_in_one_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Ledger.open(url, timeout=0.2) as ledger:
        take(ledger, row("a"))
        holder = create_engine(url, isolation_level=None)
        with holder.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(LedgerError, match="locked by another process") as caught:
                Erasures(ledger).compact()
            connection.rollback()
        holder.dispose()
        assert "\n" not in str(caught.value)
        Erasures(ledger).compact()
        assert ids(ledger) == ["a"]


def test_a_request_is_made_once_and_needs_something_to_forget(ledger: Ledger) -> None:
    take(ledger, row("a"))
    first = Erasures(ledger).forget_rater("ann", WHY)
    assert Erasures(ledger).forget_rater("ann", "again") == first
    assert Erasures(ledger).unfinished() == [first]
    for ask in (Erasures(ledger).forget_rater, Erasures(ledger).forget_row):
        with pytest.raises(UsageError):
            ask("nobody", WHY)
    assert len(Erasures(ledger).all()) == 1
    assert take(ledger, row("d"))["quarantined"] == 1, "refused before it is finished"


def test_versions_of_a_row_go_together(ledger: Ledger) -> None:
    take(
        ledger,
        row("a", "ann"),
        row("b", "bob", supersedes="a"),
        row("c", "carl", supersedes="b"),
        row("d", "bob"),
        row("e", "ann", supersedes="d"),
    )
    Erasures(ledger).forget_row("b", WHY)
    assert ids(ledger) == ["d", "e"]
    Erasures(ledger).forget_rater("ann", WHY)
    assert ids(ledger) == ["d"], "what ann replaced is bob's"


def test_old_rows_by_their_own_time(ledger: Ledger) -> None:
    take(
        ledger, row("a"), row("b", at="2026-01-02T00:00:00.5Z"), row("c", at="2026-01-03T00:00:00Z")
    )
    assert Erasures(ledger).forget_before("2026-01-01T00:00:00Z", WHY) is None
    request = Erasures(ledger).forget_before("2026-01-02T00:00:01Z", WHY)
    assert request is not None
    assert ids(ledger) == ["c"]
    assert Erasures(ledger).raters(request.id) == set(), "nobody's name goes by age"


def test_quarantined_lines_go_by_when_they_were_received(ledger: Ledger, url: str) -> None:
    for at, raw in (("2026-01-01T00:00:00Z", b"old line"), ("2026-02-01T00:00:00Z", b"new line")):
        batch = ledger.start_batch("f", "jsonl", at)
        ledger.append(batch, [Rejected(1, "not_json", "m", raw)], at)
    request = Erasures(ledger).forget_before("2026-01-15T00:00:00Z", WHY)
    assert request is not None
    forget(ledger, request.id)
    assert [line.raw for line in ledger.quarantined()] == [b"", b"new line"]
    assert "old line" not in everything(url)
    assert Erasures(ledger).forget_before("2026-01-15T00:00:00Z", WHY) is None


def test_a_report_grows(ledger: Ledger) -> None:
    take(ledger, row("a"))
    erasures = Erasures(ledger)
    key = erasures.forget_rater("ann", WHY).id
    erasures.report(key, rows=1, replaced={"x": {"rows": 0}})
    erasures.report(key, rows=2, replaced={"y": {"rows": 1}})
    assert erasures.finish(key).report == {
        "rows": 2, "replaced": {"x": {"rows": 0}, "y": {"rows": 1}}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("erasure = 99", "row 3 is hidden under a request to erase, 99, that nobody made"),
        ("erasure = 0", "row 3 is hidden under a request to erase, 0, that nobody made"),
        ("erasure = 1", "row 3 has its text still, though request 1 to erase it was finished"),
        ("row = NULL, salt = NULL", "row 3 was emptied without a request"),
        ("row = NULL, erasure = 99", "row 3 is hidden under a request to erase, 99"),
    ],
)
def test_no_row_is_hidden_without_a_request(
    ledger: Ledger, url: str, change: str, problem: str
) -> None:
    take(ledger, row("a"), row("b", "bob"), row("c", "carl"))
    forget(ledger, Erasures(ledger).forget_rater("ann", WHY).id)
    assert ledger.verify_chain().erased == 1
    _altered(url, f"UPDATE feedback SET {change} WHERE seq = 3")
    with pytest.raises(DataError, match=problem):
        ledger.verify_chain()


def test_the_chain_holds_at_every_step_of_a_request(ledger: Ledger) -> None:
    take(ledger, row("a"), row("b", "bob"), row("c"))
    before, erasures = ledger.verify_chain().chain, Erasures(ledger)
    request = erasures.forget_rater("ann", WHY).id
    assert ledger.verify_chain() == Verified(3, 0, before)
    erasures.clear(request)
    assert ledger.verify_chain() == Verified(3, 2, before)
    erasures.finish(request)
    assert ledger.verify_chain() == Verified(3, 2, before)
    assert ledger.chain(3) == before


def _altered(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount
    engine.dispose()
