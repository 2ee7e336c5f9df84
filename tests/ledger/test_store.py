"""The ledger's promises, on SQLite and PostgreSQL: nothing lost, nothing twice, nothing silent."""

from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from roundhouse.errors import DataError, LedgerError
from roundhouse.feedback import Row, parse
from roundhouse.ledger import Candidate, Counts, Erasures, Ledger, Rejected
from roundhouse.ledger.append import PART_BYTES

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def row(id: str, response: str | None = None, rater: str = "r1", **more: Any) -> Row:
    given = {
        "id": id,
        "kind": "demonstration",
        "prompt": "May I?",
        "response": response or f"Answer {id}",
        "rater": rater,
        "created_at": "2026-01-31T16:59:52Z",
    }
    return parse(given | more, NOW)


def candidates(*rows: Row) -> list[Candidate | Rejected]:
    return [Candidate(line, each, each["id"].encode()) for line, each in enumerate(rows, 1)]


def change(url: str, statement: str) -> None:
    """Does to the database what the ledger itself never does."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_an_empty_ledger(ledger: Ledger) -> None:
    assert ledger.counts() == Counts()
    assert ledger.watermark() == 0
    assert list(ledger.rows()) == []
    assert ledger.verify_chain().rows == 0
    assert ledger.champion() is None
    assert ledger.rounds() == []


def test_rows_come_back_in_order_as_they_were(ledger: Ledger) -> None:
    rows = [row(f"f-{number}", "🙂 <b>\u202e\x07") for number in range(1)]
    rows += [row(f"g-{number}") for number in range(5)]
    batch = ledger.start_batch("a.jsonl", "jsonl")
    counts, rejected = ledger.append(batch, candidates(*rows))
    assert counts == Counts(6, 6, 0, 0) and rejected == []
    assert ledger.watermark() == 6
    assert list(ledger.rows()) == rows
    assert list(ledger.rows(after=2, to=4)) == rows[2:4]
    assert list(ledger.rows(after=6)) == []
    assert ledger.row("g-3") == rows[4]
    assert ledger.row("none") is None
    assert list(ledger.rows(rater="r1")) == rows and list(ledger.rows(rater="r2")) == []


def test_watermark_and_counts_are_of_one_moment_while_others_write(
    url: str, ledger: Ledger
) -> None:
    rows = [row(f"f-{number}") for number in range(200)]

    def write() -> None:
        with Ledger.open(url) as other:
            batch = other.start_batch("a.jsonl", "jsonl")
            for each in rows:
                other.append(batch, candidates(each))

    writer = Thread(target=write)
    writer.start()
    seen = set()
    while writer.is_alive():
        watermark, counts = ledger.standing()
        assert counts == Counts(watermark, watermark, 0, 0)
        seen.add(watermark)
    writer.join()
    assert len(seen) > 10 and ledger.standing() == (200, Counts(200, 200, 0, 0))


def test_a_round_keeps_the_counts_that_it_was_frozen_with(ledger: Ledger) -> None:
    number = ledger.take_round_number()
    for counts in (None, Counts(3, 1, 1, 1), Counts(), None):
        ledger.record_round(number, counts=counts)
        told = ledger.round(number)
        assert told is not None and told.counts == counts


def test_it_says_whether_it_holds_a_kind_of_row_that_was_not_erased(ledger: Ledger) -> None:
    assert not ledger.holds("demonstration", "correction")
    ledger.append(ledger.start_batch("a.jsonl", "jsonl"), candidates(row("a"), row("b", "x")))
    assert ledger.holds("correction", "demonstration") and not ledger.holds("comparison", "flag")
    Erasures(ledger).forget_rater("r1", "asked")
    assert not ledger.holds("demonstration")


def test_it_says_how_many_rows_came_after_a_watermark(ledger: Ledger) -> None:
    ledger.append(ledger.start_batch("a.jsonl", "jsonl"), candidates(row("a"), row("b", "x")))
    assert (ledger.held(), ledger.held(1), ledger.held(2)) == (2, 1, 0)
    Erasures(ledger).forget_row("b", "asked")
    assert (ledger.held(), ledger.held(1), ledger.watermark()) == (1, 0, 2)


def test_content_that_is_known_is_a_duplicate_whatever_its_id(ledger: Ledger) -> None:
    batch = ledger.start_batch("a.jsonl", "jsonl")
    ledger.append(batch, candidates(row("a", "x"), row("b", "x"), row("c", "y")))
    counts, rejected = ledger.append(batch, candidates(row("a", "x"), row("d", "y"), row("e")))
    assert counts == Counts(3, 1, 2, 0) and rejected == []
    assert ledger.counts() == Counts(6, 3, 3, 0)
    assert [each["id"] for each in ledger.rows()] == ["a", "c", "e"]


@pytest.mark.parametrize("within_one_chunk", [True, False])
def test_a_known_id_with_other_content_is_a_conflict(
    ledger: Ledger, within_one_chunk: bool
) -> None:
    batch = ledger.start_batch("a.jsonl", "jsonl")
    entries = candidates(row("a", "x"), row("a", "y"))
    chunks = [entries] if within_one_chunk else [entries[:1], entries[1:]]
    results = [ledger.append(batch, chunk) for chunk in chunks]
    (conflict,) = results[-1][1]
    assert conflict.code == "id_conflict"
    assert ledger.counts() == Counts(2, 1, 0, 1)
    (kept,) = ledger.quarantined()
    assert (kept.line, kept.code, kept.raw) == (2, "id_conflict", b"a")
    assert ledger.row("a") == row("a", "x")


def test_a_new_version_has_a_new_id_and_names_the_old_one(ledger: Ledger) -> None:
    batch = ledger.start_batch("a.jsonl", "jsonl")
    new = row("a2", "y", supersedes="a")
    assert ledger.append(batch, candidates(row("a", "x"), new))[0] == Counts(2, 2, 0, 0)
    assert list(ledger.rows()) == [row("a", "x"), new]


def test_quarantine_keeps_every_byte(ledger: Ledger) -> None:
    batch = ledger.start_batch("a.jsonl", "jsonl")
    long = bytes(range(256)) * (PART_BYTES // 100)
    pieces = [long[:10], long[10 : PART_BYTES * 2], long[PART_BYTES * 2 :]]
    entries = [
        Rejected(1, "nul_byte", "m", b"\0\xff\n"),
        Rejected(2, "too_large", "m", pieces[0], iter(pieces[1:])),
        Rejected(3, "not_json", "m", long),
    ]
    counts, rejected = ledger.append(batch, entries)
    assert counts == Counts(3, 0, 0, 3) and rejected == entries
    kept = sorted(ledger.quarantined(batch), key=lambda each: each.line)
    assert [each.raw for each in kept] == [b"\0\xff\n", long, long]
    assert list(ledger.quarantined(batch + 1)) == []


def test_a_batch_knows_its_counts_and_whether_it_was_finished(ledger: Ledger) -> None:
    first = ledger.start_batch("a.jsonl", "jsonl", "2026-02-01T00:00:00Z")
    second = ledger.start_batch("b.csv", "csv", "2026-02-01T00:00:00Z")
    ledger.append(first, candidates(row("a")))
    ledger.finish_batch(first, "f" * 64, "2026-02-01T00:00:05Z")
    done, cut = ledger.batches()
    assert (done.id, done.name, done.sha256) == (first, "a.jsonl", "f" * 64)
    assert (done.counts, done.finished_at) == (Counts(1, 1, 0, 0), "2026-02-01T00:00:05Z")
    assert (cut.id, cut.format, cut.sha256, cut.finished_at) == (second, "csv", None, None)


def test_a_chunk_that_fails_leaves_nothing(ledger: Ledger) -> None:
    batch = ledger.start_batch("a.jsonl", "jsonl")

    def broken() -> Any:
        yield b"x" * PART_BYTES
        raise OSError("the disk went away")

    entries = [*candidates(row("a")), Rejected(2, "too_large", "m", b"x", broken())]
    with pytest.raises(OSError, match="went away"):
        ledger.append(batch, entries)
    assert ledger.counts() == Counts()
    assert ledger.watermark() == 0
    assert list(ledger.quarantined()) == []


def test_the_chain_holds_from_its_start_to_the_head(ledger: Ledger) -> None:
    batch = ledger.start_batch("a.jsonl", "jsonl")
    for number in range(4):
        ledger.append(batch, candidates(row(f"f-{number}"), row(f"g-{number}")))
    found = ledger.verify_chain()
    assert (found.rows, found.erased) == (8, 0)
    assert found.chain == ledger.chain(8) != ledger.chain(7)
    assert ledger.chain(0) == "0" * 64
    with pytest.raises(DataError, match="no row 9"):
        ledger.chain(9)


def test_an_erased_row_leaves_a_chain_that_holds(ledger: Ledger, url: str) -> None:
    batch = ledger.start_batch("a.jsonl", "jsonl")
    ledger.append(batch, candidates(row("a"), row("b"), row("c")))
    change(url, "INSERT INTO erasure VALUES (1, 'row', 'b', '', '', '', '', NULL, '{}')")
    change(
        url, "UPDATE feedback SET row = NULL, salt = NULL, rater = NULL, erasure = 1 WHERE seq = 2"
    )
    assert [each["id"] for each in ledger.rows()] == ["a", "c"]
    assert ledger.row("b") is None
    found = ledger.verify_chain()
    assert (found.rows, found.erased) == (3, 1)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "UPDATE feedback SET row = replace(row, 'Answer', 'Answers') WHERE seq = 2",
            "row 2 differs",
        ),
        ("UPDATE feedback SET rater = 'r2' WHERE seq = 2", "row 2 differs from its columns"),
        ("UPDATE feedback SET digest = salt || salt WHERE seq = 2", "row 2 breaks the chain"),
        ("UPDATE feedback SET row = NULL WHERE seq = 2", "row 2 was emptied without a request"),
        ("DELETE FROM feedback WHERE seq = 2", "row 2 is missing"),
        ("DELETE FROM feedback WHERE seq = 3", "ends at row 2, its record at 3"),
    ],
)
def test_a_changed_row_is_found(ledger: Ledger, url: str, statement: str, message: str) -> None:
    batch = ledger.start_batch("a.jsonl", "jsonl")
    ledger.append(batch, candidates(row("a"), row("b"), row("c")))
    change(url, statement)
    with pytest.raises(DataError, match=message):
        ledger.verify_chain()


def test_round_numbers_are_never_taken_twice(ledger: Ledger) -> None:
    assert ledger.take_round_number() == 1
    assert ledger.take_round_number(at_least=5, note={"head": "abc"}) == 5
    assert ledger.take_round_number(at_least=2) == 6
    assert [each.number for each in ledger.rounds()] == [1, 5, 6]
    found = ledger.round(5)
    assert found is not None
    assert (found.state, found.note, found.reasons, found.metrics) == (
        "open",
        {"head": "abc"},
        [],
        {},
    )
    assert ledger.round(4) is None


def test_a_round_is_recorded(ledger: Ledger) -> None:
    number = ledger.take_round_number()
    ledger.record_round(number, watermark=7)
    ledger.finish_round(
        number, state="published", decision="promoted", reasons=["won"], metrics={"ppo/kl": 0.5}
    )
    found = ledger.round(number)
    assert found is not None and found.finished_at is not None
    assert (found.watermark, found.state, found.decision) == (7, "published", "promoted")
    assert (found.reasons, found.metrics) == (["won"], {"ppo/kl": 0.5})
    with pytest.raises(LedgerError, match="no round 9"):
        ledger.record_round(9, state="published")


def test_the_champion_changes_by_promotion_and_by_rollback_alone(ledger: Ledger) -> None:
    rounds = [ledger.take_round_number() for _ in range(3)]
    first = ledger.settle(rounds[0], True, "1", "a" * 64, expected=None)
    held = ledger.settle(rounds[1], False, "2", "b" * 64, expected=first.id)
    assert (held.action, held.champion_before, held.champion_after) == ("hold", "1", "1")
    champion = ledger.champion()
    assert champion is not None
    assert (champion.version, champion.decision, champion.round) == ("1", first.id, rounds[0])
    third = ledger.settle(rounds[2], True, "3", "c" * 64, expected=first.id, why="better")
    assert (third.champion_before, third.champion_after, third.why) == ("1", "3", "better")
    back = ledger.roll_back(rounds[0], "1", "a" * 64, expected=third.id, why="complaints")
    champion = ledger.champion()
    assert champion is not None
    assert (champion.round, champion.version, champion.decision) == (rounds[0], "1", back.id)
    assert [each.action for each in ledger.decisions()] == [
        "promote",
        "hold",
        "promote",
        "rollback",
    ]
    assert back.round is None


def test_a_promotion_over_another_champion_than_expected_is_refused(ledger: Ledger) -> None:
    rounds = [ledger.take_round_number() for _ in range(2)]
    first = ledger.settle(rounds[0], True, "1", "a" * 64, expected=None)
    for expected in (None, first.id + 1):
        with pytest.raises(LedgerError, match="champion changed"):
            ledger.settle(rounds[1], True, "2", "b" * 64, expected=expected)
    assert len(ledger.decisions()) == 1
    champion = ledger.champion()
    assert champion is not None and champion.version == "1"


def test_a_round_decides_once_and_may_say_so_again(ledger: Ledger) -> None:
    number = ledger.take_round_number()
    first = ledger.settle(number, True, "1", "a" * 64, expected=None)
    assert ledger.settle(number, True, "1", "a" * 64, expected=None) == first
    with pytest.raises(LedgerError, match="decided already"):
        ledger.settle(number, False, "1", "a" * 64, expected=first.id)
    assert ledger.decisions() == [first]


def test_overrides_are_kept_with_who_and_why(ledger: Ledger) -> None:
    ledger.add_override(3, subject="choice_balance", state="accepted", why="known")
    ledger.add_override(None, subject="r1", state="suspended", why="bot", kind="rater")
    (check,) = ledger.overrides(3)
    assert (check.kind, check.subject, check.why, bool(check.who)) == (
        "check",
        "choice_balance",
        "known",
        True,
    )
    (rater,) = ledger.overrides(kind="rater")
    assert (rater.round, rater.state) == (None, "suspended")
    assert len(ledger.overrides()) == 2
