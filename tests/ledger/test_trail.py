"""Where rows came from: places, files, and what was not accepted."""

from pathlib import Path

import pytest

from roundhouse import jsonl
from roundhouse.ingest import Mapping, ingest
from roundhouse.ledger import Ledger
from roundhouse.ledger.trail import Trail


def _row(name: str, rater: str = "r1") -> dict[str, str]:
    row = {"id": name, "kind": "demonstration", "prompt": f"p {name}", "response": "a"}
    return row | {"rater": rater, "created_at": "2026-01-01T00:00:00Z"}


@pytest.fixture
def filled(ledger: Ledger, tmp_path: Path) -> Ledger:
    """Two files: one of JSON with a bad row, one of CSV with a bad row, and the first one again."""
    first, second = tmp_path / "first.jsonl", tmp_path / "second.csv"
    bad = _row("bad") | {"created_at": "yesterday"}
    jsonl.write(first, [_row("a"), _row("b", "r2"), bad])
    second.write_text(
        "id,prompt,response,rater,created_at\n"
        "c,p,x,r2,2026-01-01T00:00:00Z\nbad csv,p,x,r2,yesterday\n"
    )
    ingest(ledger, first, "jsonl")
    ingest(ledger, second, "csv", Mapping.parse([], ["kind=demonstration"]))
    ingest(ledger, first, "jsonl")
    return ledger


def test_a_row_has_a_place_and_a_file(filled: Ledger) -> None:
    trail = Trail(filled)
    place = trail.row("c")
    assert place is not None
    assert (place.seq, place.rater, place.kind, place.erasure) == (3, "r2", "demonstration", None)
    assert trail.batches("second.csv")[0].id == place.batch
    assert [one.id for one in trail.of_batch(place.batch)] == ["c"]
    assert trail.row("bad") is None
    assert trail.waiting("r2", after=2) == 1


def test_a_file_is_found_by_name_or_digest_and_every_time_it_came(filled: Ledger) -> None:
    trail = Trail(filled)
    named = trail.batches("first.jsonl")
    assert [batch.counts.accepted for batch in named] == [2, 0]
    assert [batch.counts.duplicate for batch in named] == [0, 2]
    assert trail.batches(str(named[0].sha256)[:8]) == named
    assert trail.batches(str(named[0].sha256)[:7]) == []
    assert trail.codes(named[0].id) == {"bad_time": 1}


def test_a_quarantined_row_is_found_by_its_id(filled: Ledger) -> None:
    trail = Trail(filled)
    assert [(one.code, one.line) for one in trail.refused("bad")] == [("bad_time", 3)] * 2
    assert [one.line for one in trail.refused("bad csv")] == [3]
    assert list(trail.refused("p bad")) == list(trail.refused("nobody")) == []


def test_a_line_nested_too_deeply_hides_no_row(ledger: Ledger, tmp_path: Path) -> None:
    deep = tmp_path / "deep.jsonl"
    deep.write_text("[" * 100_000 + ' "f-001"\n' + "[" * 100_000 + ', "f-001"\n')
    ingest(ledger, deep, "jsonl")
    found = [(one.code, one.line) for one in Trail(ledger).refused("f-001")]
    assert found == [("too_deep", 2)]
