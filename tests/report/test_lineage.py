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
    "rows": {
        "accepted": 20000,
        "erased": 0,
        "used": 19900,
        "excluded": {"identical-answers": 100},
    },
    "raters": RATERS,
    "base": "scratch",
    "seed": 17,
    "model_sha256": "d" * 64,
    "validation": {
        "success": False,
        "blocked": None,
        "expectations": 33,
        "failed": [{"check": "duplicate", "failing_rows": 100}],
    },
    "accepted": ["agreement: seen"],
    "overrides": [
        {"kind": "check", "subject": "agreement", "state": "accepted", "who": "ann"}
        | {"why": "seen", "at": "2026-01-01T00:00:00Z"},
    ],
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
    assert has(text, "version 1, made by round 1", "20,000", "e" * 64)
    assert has(text, "check agreement: accepted by ann, 2026-01-01T00:00:00Z: seen")
    assert has(text, "33 expectations, 1 failed (duplicate 100)")
    assert has(text, "19,900 usable + 100 excluded (identical-answers 100)", "KL 31.2 is over 20")
    assert has(text, "2 (ok 1, watch 1)", "0.700")


def test_a_version_tells_what_trained_it_and_when_it_was_released() -> None:
    first = AUDIT | {"champion_before": None, "version": "4", "reasons": [], "overrides": []}
    first["trained"] = {
        "reward": {"things": 300, "rows": 900, "weight": 312.5},
        "safety": {"things": 4, "rows": 5, "weight": 0.0},
    }
    decision = {"action": "rollback", "round": None, "version": "4", "who": "ann", "why": "worse"}
    champions = {"champion_before": "5", "champion_after": "4", "at": "2026-01-01T00:00:00Z"}
    first["history"] = [decision | champions]
    text = report.audit_text(first)
    assert has(text, "Version 4, round 2", "there was no champion", "reward 300 900 312.50")
    assert has(text, "safety 4 5 -", "rollback 4 5 4 ann worse", "--rows FILE")
    assert "rows.jsonl" in report.audit_text(first | {"rows_file": "rows.jsonl"})


def test_a_difference_shows_what_moved() -> None:
    found = {
        "from": 1,
        "to": 2,
        "partitions_added": {"0002.jsonl": 2500},
        "partitions_gone": {},
        "partitions_altered": [],
        "rows_added": 2500,
        "rows_added_erased": 7,
        "rows_added_by_kind": {"comparison": 2300, "rating": 200},
        "rows_added_by_region": {"IN": 2500},
        "rows_added_by_domain": {"legal": 2400, "none": 100},
        "raters_new": ["r17"],
        "raters_gone": [],
        "weights_moved": {"r1": (0.9, 0.7)},
        "settings_changed": {"ppo.steps": (30, 10)},
        "figures_changed": {"evaluate/kl": (None, 4.5), "evaluate/kl_low": (1.0, 2.0)},
        "code": ["a", "a"],
        "commits": [],
        "edited_code": [False, False],
        "decision": ["promoted", "held"],
    }
    text = report.diff_text(found)
    assert has(text, "promoted -> held", "2,500 (comparison 2,300, rating 200)", "0002.jsonl")
    assert has(text, "r17", "ppo.steps 30 10", "r1 0.9 0.7", "evaluate/kl - 4.5", "unchanged")
    assert has(text, "by region IN 2,500", "by domain legal 2,400, none 100")
    assert "kl_low" not in text
    other = found | {"code": ["a", "b"], "commits": ["abc123 Faster"]}
    assert has(report.diff_text(other), "a -> b abc123 Faster")


def test_a_verification_says_all_is_well_or_what_is_not() -> None:
    found: dict[str, Any] = {"rounds": 3, "files": 312, "rows": 8520, "findings": [], "notes": []}
    looked = "3 rounds, 312 files, 8,520 rows of the ledger"
    assert report.verification_text(found) == f"all as published: {looked}"
    away = found | {"notes": ["not looked into: MLflow is away"]}
    assert has(report.verification_text(away), "all as published", "MLflow is away")
    finding = {"round": 2, "what": "model.safetensors", "problem": "altered", "where": "/remote"}
    text = report.verification_text(found | {"findings": [finding]})
    assert has(text, "not as published: 1", "2 model.safetensors altered /remote")
