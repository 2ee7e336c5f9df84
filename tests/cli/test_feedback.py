"""`ingest` at the terminal: what it says and its exit code."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]

ROW = {
    "kind": "demonstration",
    "prompt": "Why?",
    "response": "So.",
    "rater": "r1",
    "created_at": "2026-01-31T16:59:52Z",
}


def test_a_file_of_which_nothing_was_of_use_is_no_success(
    make_checkout: Callable[..., Path], roundhouse: Command
) -> None:
    root = make_checkout()
    strange = {"question": "Why?", "answer": "So.", "who": "r1"}
    for name, rows in (("strange", [strange]), ("mixed", [ROW, strange]), ("again", [ROW])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (root / f"{name}.jsonl").write_text(text, encoding="utf-8")

    done = roundhouse(root, "ingest", "strange.jsonl", "--format", "jsonl", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["quarantined"] == 1
    assert "strange.jsonl: every row was quarantined: see `roundhouse quarantine`" in done.stderr
    for name in ("mixed", "again"):
        done = roundhouse(root, "ingest", f"{name}.jsonl", "--format", "jsonl")
        assert done.returncode == 0, done.stderr

    (root / "bad.jsonl").write_bytes(b'{"kind": "\x1b[31m\xff\n')
    assert roundhouse(root, "ingest", "bad.jsonl", "--format", "jsonl").returncode == 1
    listed = json.loads(roundhouse(root, "quarantine", "--json").stdout)
    assert [(one["file"], one["line"]) for one in listed] == [
        ("strange.jsonl", 1), ("mixed.jsonl", 2), ("bad.jsonl", 1)
    ]  # fmt: skip
    assert json.loads(listed[0]["raw"]) == strange
    said = roundhouse(root, "quarantine", "--last", "1").stdout
    assert said.startswith(f"bad.jsonl:1: {listed[2]['reason']}: ")
    assert "\\x1b[31m\\xff" in said and "\x1b" not in said
    assert "3 lines in all" in said
    reason = roundhouse(root, "quarantine", "--reason", listed[0]["reason"], "--json").stdout
    assert len(json.loads(reason)) == 2
    assert (
        roundhouse(root, "quarantine", "--reason", "none_such").stdout == "nothing was put aside\n"
    )
