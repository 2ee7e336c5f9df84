"""What the commands print that follow a rater, a row or a file."""

from typing import Any

from roundhouse import report

ENTRY: dict[str, Any] = {"round": 1, "decision": "promoted", "version": "4", "champion": True}
COUNTS: dict[str, Any] = {
    "used": {"reward": 12, "sft": 3},
    "excluded": {"duplicate": 2},
    "unused": {"suspended": 1},
}


def has(text: str, *parts: str) -> bool:
    return all(part in " ".join(text.split()) for part in parts)


def test_a_rater_is_followed_into_rounds_and_models() -> None:
    word = {"state": "suspended", "who": "ann", "why": "guesses", "at": "2026-01-01T00:00:00Z"}
    rounds = [
        ENTRY | {"rows": 20, "weight": 0.8, "state": "ok"} | COUNTS,
        {"round": 2, "decision": "held", "version": None, "champion": False, "rows": 25}
        | {"weight": None, "state": None, "used": {}, "excluded": {}, "unused": {}},
    ]
    found = {"rater": "r[b]1", "rounds": rounds, "waiting": 7, "overrides": [word]}
    text = report.rater_text(found)
    assert has(text, "Rater r[b]1", "1 promoted 4 (champion) 0.80 ok 20 reward 12, sft 3")
    assert has(text, "duplicate 2, suspended 1", "2 held - - - 25 - -", "7 rows")
    assert has(text, "suspended by ann, 2026-01-01T00:00:00Z: guesses")


def test_a_row_tells_where_it_came_from_and_what_became_of_it() -> None:
    uses = [
        {"how": "reward", "weight": 0.5, "p": 0.75, "votes": 3},
        {"how": "excluded", "why": "duplicate"},
    ]
    found: dict[str, Any] = {
        "row": "f-1",
        "state": "accepted",
        "kind": "comparison",
        "rater": "r1",
        "seq": 1200,
        "received_at": "2026-01-01T00:00:00Z",
        "file": "votes.csv",
        "file_sha256": "a" * 64,
        "quarantined": [],
        "rounds": [ENTRY | {"uses": uses, "rater_weight": 0.6, "rater_state": "watch"}],
    }
    text = report.row_text(found)
    assert has(
        text, "Row f-1", "accepted", "votes.csv (aaaa", "row 1,200 of the ledger", "0.60 watch"
    )
    assert has(
        text, "reward, weight 0.5, soft label 0.75, 3 votes", "excluded, by the check duplicate"
    )
    refused = {"file": "v.csv", "line": 3, "code": "bad_time", "message": "created_at: 'x'"}
    lost = {"row": "f-2", "state": "quarantined", "quarantined": [refused], "rounds": []}
    assert has(report.row_text(lost), "v.csv line 3: bad_time", "in no published round")


def test_a_file_tells_what_became_of_its_rows() -> None:
    batch: dict[str, Any] = {"started_at": "2026-01-01T00:00:00Z", "sha256": None, "received": 9}
    batch |= {"accepted": 5, "duplicate": 3, "quarantined": 1, "reasons": {"bad_time": 1}}
    found = {"file": "votes.csv", "batches": [batch], "waiting": 0}
    text = report.file_text(found | {"rounds": [ENTRY | {"rows": 5} | COUNTS]})
    assert has(text, "File votes.csv", "interrupted 9 5 3 1 (bad_time 1)")
    assert has(text, "1 promoted 4 (champion) 5 reward 12, sft 3")
