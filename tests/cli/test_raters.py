"""`raters` at the terminal where there is little to tell: no round yet, an older round."""

import json
import subprocess
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roundhouse.cli import history
from roundhouse.errors import DataError, RoundhouseError, UsageError
from roundhouse.feedback import rater_keys
from roundhouse.locations import Locations
from roundhouse.rounds import audit
from roundhouse.rounds.shelf import Shelf
from tests.report.story import nobody

Command = Callable[..., subprocess.CompletedProcess[str]]

ROW = {
    "kind": "demonstration", "prompt": "Why?", "response": "So.", "rater": "r1",
    "created_at": "2026-01-31T16:59:52Z",
}  # fmt: skip


class Older(Shelf):
    """A round of a version that told no story and no `since`."""

    def settings(self, tag: str) -> dict[str, Any]:
        return {"split": {"salt": "salt"}}

    def json(self, tag: str, name: str) -> Any:
        if name.endswith("raters.json"):
            return [{"rater": name, "state": "ok"} for name in ("r1", "r2")]
        raise DataError(f"{tag} published no {name}")


def test_before_the_first_round_it_says_so_and_takes_a_word(
    make_checkout: Callable[..., Path], roundhouse: Command
) -> None:
    root = make_checkout()
    (root / "rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    assert roundhouse(root, "ingest", "rows.jsonl", "--format", "jsonl").returncode == 0
    done = roundhouse(root, "raters", "--page", "page.html")
    assert done.returncode == 2
    assert "no published round yet" in done.stderr
    assert not (root / "page.html").exists()
    assert roundhouse(root, "raters", "set", "r1", "ok").returncode == 2
    done = roundhouse(root, "raters", "--why", "hello")
    assert done.returncode == 2 and "--why goes with set" in done.stderr
    done = roundhouse(root, "raters", "set", "r1", "suspended", "--why", "asked to", "--json")
    assert json.loads(done.stdout) == {"rater": "r1", "state": "suspended", "known": True}
    done = roundhouse(root, "raters", "set", "r1", "auto", "--why", "a slip")
    assert done.stdout.startswith("the tests decide on r1 again from the next round on")
    done = roundhouse(root, "raters", "set", "r11", "suspended", "--why", "asked to")
    assert "the ledger has no row of r11 yet: is the name right?" in done.stdout


def test_a_page_makes_its_folder_and_where_it_cannot_says_so_in_one_line(tmp_path: Path) -> None:
    page = tmp_path / "new" / "folder" / "page.html"
    assert history._write_page(Namespace(page=page, json=False), 2, nobody()) == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    for wrong in (page / "page.html", page.parent):
        with pytest.raises(UsageError, match="cannot be written") as caught:
            history._write_page(Namespace(page=wrong, json=False), 2, nobody())
        assert str(wrong) in str(caught.value) and "\n" not in str(caught.value)


def test_an_older_round_has_keys_and_says_that_it_has_no_page(tmp_path: Path) -> None:
    older = Older(Locations(tmp_path))
    keys = rater_keys(["r1", "r2"], "salt")
    assert {one["rater"]: one["key"] for one in audit.raters(older, "round-0001")} == keys
    assert audit.named(older, "round-0001", keys["r2"]) == "r2"
    assert audit.named(older, "round-0001", "r1") == "r1"
    assert audit.named(older, "round-0001", "r9") == "r9"
    with pytest.raises(RoundhouseError, match="has no page on its raters"):
        audit.story(older, "round-0001")
