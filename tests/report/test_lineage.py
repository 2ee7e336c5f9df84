"""What the audit commands print names everything they found."""

from typing import Any

from roundhouse import report

RATERS: list[dict[str, Any]] = [
    {
        "rater": "r[b]1",
        "region": "IN",
        "votes": 1200,
        "accuracy": 0.81,
        "accuracy_low": 0.78,
        "accuracy_high": 0.83,
        "weight": 1.0,
        "state": "ok",
        "evidence": [],
    },
    {
        "rater": "r2",
        "region": None,
        "votes": 3,
        "accuracy": None,
        "accuracy_low": None,
        "accuracy_high": None,
        "weight": 0.5,
        "state": "watch",
        "evidence": ["3 votes overlap, fewer than 20"],
    },
]
AUDIT: dict[str, Any] = {
    "round": 2,
    "decision": "held",
    "reasons": [{"rule": "kl", "passed": False, "text": "KL 31.2 is over 20"}],
    "commit": "a" * 40,
    "code": "b" * 40,
    "edited_code": True,
    "previous": "round-0001",
    "champion_before": {"version": "1", "round": 1, "sha256": "c" * 64},
    "data_version": "3f2a91c07b22aa.dir",
    "partitions": {"0001.jsonl": {"rows": 20000, "sha256": "e" * 64}},
    "rows": {"accepted": 20000, "used": 19900, "excluded": {"identical-answers": 100}},
    "raters": RATERS,
    "base": "scratch",
    "seed": 17,
    "model_sha256": "d" * 64,
    "accepted": ["agreement: seen"],
    "metrics": {"evaluate/win_rate": 0.7},
    "settings": {},
}


def has(text: str, *parts: str) -> bool:
    return all(part in " ".join(text.split()) for part in parts)


def test_an_audit_names_commit_data_raters_and_reasons() -> None:
    text = report.audit_text(AUDIT)
    assert has(
        text,
        "a" * 40,
        "b" * 40 + " with uncommitted edits",
        "round-0001",
        "d" * 64,
        "3f2a91c07b22aa.dir",
    )
    assert has(text, "version 1, made by round 1", "20,000", "e" * 64, "agreement: seen")
    assert has(text, "19,900 usable + 100 excluded (identical-answers 100)", "KL 31.2 is over 20")
    assert has(text, "2 (ok 1, watch 1)", "0.700")
    first = AUDIT | {"champion_before": None, "version": "4", "reasons": [], "accepted": []}
    assert has(report.audit_text(first), "Version 4, round 2", "there was no champion")


def test_a_difference_shows_what_moved() -> None:
    found = {
        "from": 1,
        "to": 2,
        "partitions_added": {"0002.jsonl": 2500},
        "partitions_gone": {},
        "partitions_altered": [],
        "rows_added": 2500,
        "rows_added_by_kind": {"comparison": 2300, "rating": 200},
        "raters_new": ["r17"],
        "raters_gone": [],
        "weights_moved": {"r1": (0.9, 0.7)},
        "settings_changed": {"ppo.steps": (30, 10)},
        "figures_changed": {"evaluate/kl": (None, 4.5), "evaluate/kl_low": (1.0, 2.0)},
        "code": ["a", "a"],
        "decision": ["promoted", "held"],
    }
    text = report.diff_text(found)
    assert has(text, "promoted -> held", "2,500 (comparison 2,300, rating 200)", "0002.jsonl")
    assert has(text, "r17", "ppo.steps 30 10", "r1 0.9 0.7", "evaluate/kl - 4.5", "unchanged")
    assert "kl_low" not in text


def test_a_verification_says_all_is_well_or_what_is_not() -> None:
    found: dict[str, Any] = {"rounds": 3, "files": 312, "rows": 8520, "findings": []}
    looked = "3 rounds, 312 files, 8,520 rows of the ledger"
    assert report.verification_text(found) == f"all as published: {looked}"
    finding = {"round": 2, "what": "model.safetensors", "problem": "altered", "where": "/remote"}
    text = report.verification_text(found | {"findings": [finding]})
    assert has(text, "not as published: 1", "2 model.safetensors altered /remote")


def test_raters_come_with_interval_and_evidence_the_least_accurate_first() -> None:
    text = report.raters_table(2, [*RATERS, RATERS[0] | {"rater": "r0", "accuracy": 0.6}])
    assert has(text, "r[b]1 IN 1,200 0.81 [0.78, 0.83]", "3 votes overlap, fewer than 20")
    assert text.index("r0") < text.index("r[b]1") < text.index("r2")


def test_a_rater_is_followed_into_rounds_and_models() -> None:
    rounds = [
        {"round": 1, "rows": 20, "version": "1", "weight": 0.8, "state": "ok"},
        {"round": 2, "rows": 25, "version": None, "weight": None, "state": None},
    ]
    text = report.rater_text({"rater": "r1", "rounds": rounds})
    assert has(text, "Rater r1", "1 1 20 0.80 ok", "2 - 25 - -")
