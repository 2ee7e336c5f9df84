"""What a published round is once rows were erased from it, on rounds without their stages."""

import io
import json
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roundhouse.errors import BusyError, DataError, RoundhouseError, UsageError
from roundhouse.feedback import parse
from roundhouse.ledger import Candidate, Erasures, Ledger, Rejected
from roundhouse.locations import Locations
from roundhouse.rounds import erased, forget, inputs, objects, snapshot
from roundhouse.rounds.begin import Round, read_inputs
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.lock import owned
from roundhouse.rounds.stores import Folder
from roundhouse.rounds.verify import verify
from tests.rounds.conftest import Command, open_round, publish_held, snapshot_and_publish
from tests.s3 import S3

FIRST = "data/feedback/0001.jsonl"
WHY = "asked by letter"


def give(ledger: Ledger, name: str, rater: str, at: str = "2026-01-01T00:00:00Z") -> None:
    """A demonstration of a rater's comes in, with a text of its own."""
    row: dict[str, Any] = {"id": name, "kind": "demonstration", "rater": rater, "created_at": at}
    row |= {"prompt": f"Asked by {name} on Monday", "response": f"What {name} says is so and so"}
    batch = ledger.start_batch("f", "jsonl")
    ledger.append(batch, [Candidate(1, parse(row, datetime.now(UTC)), b"")])


@pytest.fixture
def third(make_checkout: Callable[..., Path]) -> Round:
    """Two published rounds with rows of two raters in each, and a third one just begun."""
    root = make_checkout()
    places = Locations(root)
    ledger = Ledger.open(places.ledger_url)
    previous = None
    for number in (1, 2):
        give(ledger, f"ann-{number}", "ann")
        give(ledger, f"bob-{number}", "bob")
        this = open_round(places, ledger, previous)
        publish_held(this, "win-rate", {})
        previous = this.tag
    give(ledger, "ann-3", "ann")
    give(ledger, "bob-3", "bob")
    return open_round(places, ledger, previous)


def rows(this: Round, path: str, tag: str) -> list[str]:
    """The ids that a published partition has now."""
    data = objects.read(this.places, tag, path)
    return [json.loads(line)["id"] for line in data.splitlines()]


def test_the_next_round_starts_from_what_is_left(third: Round) -> None:
    forget.forget_rater(third.places, "ann", WHY)
    third = open_round(third.places, third.ledger, "round-0002")
    frozen = snapshot.take_snapshot(third)
    published = read_inputs(third.places.root, "round-0002").partitions
    assert [part.rows for part in published.values()] == [2, 2]
    assert {name: part.rows for name, part in frozen.partitions.items()} == {
        "0001.jsonl": 1, "0002.jsonl": 1, "0004.jsonl": 1
    }  # fmt: skip
    assert frozen.partitions.items() >= erased.current(third.ledger, published).items()
    for name, row in (("0001", "bob-1"), ("0002", "bob-2"), ("0004", "bob-3")):
        text = (third.workspace / f"data/feedback/{name}.jsonl").read_text(encoding="utf-8")
        assert row in text
        assert "ann" not in text
    assert rows(third, FIRST, "round-0001") == ["bob-1"]
    assert erased.lost(third.ledger, published) == 2
    assert verify(third.places, third.ledger).findings == ()


def test_a_row_goes_with_its_versions_and_a_second_request_takes_the_rest(third: Round) -> None:
    first = forget.forget_row(third.places, "ann-1", WHY)
    assert rows(third, FIRST, "round-0001") == ["bob-1"]
    second = forget.forget_row(third.places, "bob-1", WHY)
    assert (first.id, second.id) == (1, 2)
    assert rows(third, FIRST, "round-0001") == []
    assert rows(third, "data/feedback/0002.jsonl", "round-0002") == ["ann-2", "bob-2"]
    found = verify(third.places, third.ledger)
    assert found.findings == ()
    assert {(one.what, one.request) for one in found.erased} == {(FIRST, 2)}
    snapshot_and_publish(open_round(third.places, third.ledger, "round-0002"))
    assert verify(third.places, third.ledger).findings == ()


def test_a_round_that_is_not_published_begins_anew(third: Round) -> None:
    before = snapshot.take_snapshot(third)
    forget.forget_rater(third.places, "ann", WHY)
    assert not third.workspace.exists()
    row = third.ledger.round(third.number)
    assert row is not None
    assert row.inputs is None
    shutil.copytree(third.places.workspace(2), third.workspace)
    (third.workspace / inputs.FILE).unlink()
    after = snapshot.take_snapshot(third)
    assert before.partitions["0003.jsonl"].rows == 2
    assert after.partitions["0003.jsonl"].rows == 1


def test_what_lies_there_still_or_is_altered_is_named(third: Round) -> None:
    old = objects.published(third.places, "round-0001")[FIRST]
    cache = stores(third.places)[0]
    sink = io.BytesIO()
    assert cache.copy(old, sink)
    forget.forget_rater(third.places, "ann", WHY)
    cache.put(old, sink)
    problems = {one.problem for one in verify(third.places, third.ledger).findings}
    assert problems == {"still there, though erased under request 1"}
    cache.delete(old)
    left = erased.replaced(third.ledger)[old].to
    assert left is not None
    for store in stores(third.places):
        store.delete(left)
    problems = {one.problem for one in verify(third.places, third.ledger).findings}
    assert problems == {"what request 1 left of it is missing"}
    with pytest.raises(DataError, match="was erased under request 1"):
        objects.read(third.places, "round-0001", FIRST)


def test_a_forget_that_is_killed_anywhere_is_finished_by_saying_it_again(
    third: Round, roundhouse: Command
) -> None:
    root, words = third.places.root, ("forget", "rater", "ann", "--why", WHY)
    for place in (
        "forget.requested", "forget.described", "forget.stores", "forget.rounds",
        "forget.cleared", "forget.emptied", "forget.compacted",
    ):  # fmt: skip
        done = roundhouse(root, *words, ROUNDHOUSE_FAIL=f"{place}=kill")
        assert done.returncode == -signal.SIGKILL, (place, done.stderr)
        named = [one.what for one in verify(third.places, third.ledger).findings]
        assert named == ["request 1 to erase"], place
        assert [row["id"] for row in third.ledger.rows()] == ["bob-1", "bob-2", "bob-3"]
    assert roundhouse(root, *words).returncode == 0
    assert verify(third.places, third.ledger).findings == ()
    assert third.ledger.verify_chain().erased == 3


def test_the_next_round_finishes_what_was_left(third: Round) -> None:
    Erasures(third.ledger).forget_rater("ann", WHY)
    snapshot.take_snapshot(third)
    assert Erasures(third.ledger).unfinished() == []
    assert rows(third, FIRST, "round-0001") == ["bob-1"]


def test_a_round_that_goes_on_does_not_see_the_rows_of_a_request_that_was_left(
    third: Round,
) -> None:
    frozen = snapshot.take_snapshot(third)
    assert frozen.partitions["0003.jsonl"].rows == 2
    Erasures(third.ledger).forget_rater("ann", WHY)
    again = snapshot.take_snapshot(third)
    assert Erasures(third.ledger).unfinished() == []
    assert again.partitions["0003.jsonl"].rows == 1
    text = (third.workspace / "data/feedback/0003.jsonl").read_text(encoding="utf-8")
    assert "bob-3" in text and "ann" not in text
    assert inputs.read(third.workspace) == again


def test_what_a_dead_writer_left_in_a_store_goes_too(third: Round) -> None:
    left = []
    for store in stores(third.places):
        assert isinstance(store, Folder)
        beside = store.path(next(iter(store.names()))).parent
        left += [beside / ".Xy12.tmp", beside / f".{'0' * 30}.4711"]
    copy = third.places.state / "ledger.db.bak"
    for path in (*left, copy):
        path.write_text("What ann-1 says is so and so", encoding="utf-8")
    forget.forget_rater(third.places, "ann", WHY)
    assert not any(path.exists() for path in left)
    assert "ann" not in (copy.read_text(encoding="utf-8") if copy.exists() else "")


def test_old_rows_go_when_a_round_begins(third: Round) -> None:
    give(third.ledger, "new", "ann", at=datetime.now(UTC).isoformat()[:19] + "Z")
    retention = third.settings.retention.model_copy(update={"days": 30})
    settings = third.settings.model_copy(update={"retention": retention})
    round_ = Round(3, third.places, third.workspace, settings, third.ledger, third.previous, ())
    frozen = snapshot.take_snapshot(round_)
    assert [part.rows for part in frozen.partitions.values()] == [0, 0, 1]
    (request,) = Erasures(third.ledger).all()
    assert (request.kind, request.report["rows"]) == ("retention", 6)
    assert [row["id"] for row in third.ledger.rows()] == ["new"]
    assert forget.forget_expired(third.places, 30) == []


def test_a_round_that_is_published_by_half_is_finished_first(third: Round) -> None:
    snapshot_and_publish(third)
    with pytest.raises(UsageError, match="`roundhouse resume 3` first"):
        forget.forget_rater(third.places, "ann", WHY)
    assert Erasures(third.ledger).all() == []


def test_no_round_is_at_work_meanwhile(third: Round) -> None:
    with owned(third.places.state / "round.lock", "roundhouse round"), pytest.raises(BusyError):
        forget.forget_rater(third.places, "ann", WHY)
    assert Erasures(third.ledger).all() == []


@pytest.mark.parametrize(("rater", "why"), [("nobody", WHY), ("ann", " ")])
def test_a_wrong_request_is_not_recorded(third: Round, rater: str, why: str) -> None:
    with pytest.raises(UsageError):
        forget.forget_rater(third.places, rater, why)
    assert Erasures(third.ledger).all() == []


def test_a_text_in_quarantine_goes_too(third: Round) -> None:
    batch = third.ledger.start_batch("other", "jsonl")
    lines = (b'{"text": "What ann-1 says is so and so, I heard"}', b"What bob-1 says is so and so")
    third.ledger.append(
        batch, [Rejected(n, "not_json", "no row", raw) for n, raw in enumerate(lines)]
    )
    request = forget.forget_rater(third.places, "ann", WHY)
    assert request.report["quarantined"] == 1
    assert [line.raw for line in third.ledger.quarantined()] == [b"", lines[1]]


VOCABULARY = b'{"model": {"vocab": {"ann": 0, "bob": 1}}}'


def with_model(third: Round) -> str:
    """The third round publishes a model's folder; DVC's name of its list."""
    files = {"out/model/model.safetensors": b"w", "out/model/tokenizer.json": VOCABULARY}
    publish_held(third, "win-rate", files)
    return objects.folders(third.places.root, third.tag)["out/model"]


@pytest.mark.parametrize("damage", [b"", b'[{"md5": "0'])
def test_a_damaged_list_is_not_used_where_a_whole_one_is(third: Round, damage: bytes) -> None:
    name = with_model(third)
    stores(third.places)[-1].put(name, io.BytesIO(damage))
    assert forget.forget_rater(third.places, "ann", WHY).finished_at
    assert objects.read(third.places, third.tag, "out/model/tokenizer.json") == VOCABULARY
    assert rows(third, FIRST, "round-0001") == ["bob-1"]


@pytest.mark.parametrize("damage", [b"", b'[{"md5": "0'])
def test_a_list_that_is_damaged_everywhere_is_named_and_no_object_is_touched(
    third: Round, damage: bytes
) -> None:
    name, whole = with_model(third), io.BytesIO()
    places = stores(third.places)
    before = {store.where: sorted(store.names()) for store in places}
    note = third.places.state / "note.txt"
    note.write_text("rater ann is slow\n", encoding="utf-8")
    assert places[0].copy(name, whole)
    for store in places:
        store.put(name, io.BytesIO(damage))
    with pytest.raises(RoundhouseError, match=f"request 1 is .* unfinished: {name}") as caught:
        forget.forget_rater(third.places, "ann", WHY)
    assert "\n" not in str(caught.value)
    assert {store.where: sorted(store.names()) for store in places} == before
    assert note.read_text(encoding="utf-8") == "", "the other places are cleared"
    assert len(Erasures(third.ledger).unfinished()) == 1
    places[-1].put(name, whole)
    assert forget.forget_rater(third.places, "ann", WHY).finished_at
    assert objects.read(third.places, third.tag, "out/model/tokenizer.json") == VOCABULARY
    assert rows(third, FIRST, "round-0001") == ["bob-1"]


def test_an_object_that_is_damaged_everywhere_is_named_and_the_others_are_cleared(
    third: Round,
) -> None:
    name, whole = objects.published(third.places, "round-0001")[FIRST], io.BytesIO()
    places = stores(third.places)
    assert places[0].copy(name, whole)
    for store in places:
        store.put(name, io.BytesIO(whole.getvalue()[:-9]))
    with pytest.raises(RoundhouseError, match=f"request 1 is .* unfinished: {name}"):
        forget.forget_rater(third.places, "ann", WHY)
    assert all(store.digest(name) for store in places)
    assert rows(third, "data/feedback/0002.jsonl", "round-0002") == ["bob-2"]
    places[-1].put(name, whole)
    assert forget.forget_rater(third.places, "ann", WHY).finished_at
    assert rows(third, FIRST, "round-0001") == ["bob-1"]


def test_a_remote_that_is_away_leaves_the_request_unfinished(
    third: Round, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.lend(monkeypatch)
    root = third.places.root
    name = f"{s3.bucket}/{root.name}"
    folder = stores(third.places)[-1].where
    shutil.copytree(folder, s3.folder / name)
    s3.become_remote(root, name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(RoundhouseError, match="request 1 is recorded but unfinished") as caught:
        forget.forget_rater(third.places, "ann", WHY)
    assert "\n" not in str(caught.value)
    assert [row["id"] for row in third.ledger.rows()] == ["bob-1", "bob-2", "bob-3"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret)
    assert forget.forget_rater(third.places, "ann", WHY).finished_at
    left = b"".join(path.read_bytes() for path in (s3.folder / name).rglob("*") if path.is_file())
    assert b"bob-1" in left
    assert b"ann" not in left
    assert verify(third.places, third.ledger).findings == ()
