"""Records that must agree, where no whole round is needed to see it."""

from pathlib import Path

import pytest

from roundhouse.feedback import rater_key
from roundhouse.hashes import sha256_file, sha256_folder
from roundhouse.ledger import Decision, Ledger
from roundhouse.ledger.records import Action
from roundhouse.rounds import audit, objects, records

COMMITTED = {"outcome": "promoted", "bound": {"model": "a" * 64}}


def _made(action: Action, sha256: str = "a" * 64, why: str = "") -> Decision:
    return Decision(1, 1, action, None, None, 1, "1", sha256, why, "")


def test_a_folder_has_the_same_digest_by_its_files_digests(tmp_path: Path) -> None:
    for name in ("b/x", "b-c", "b/a/z", "a", "Z"):
        file = tmp_path / "out/align/model" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    digests = {path.relative_to(tmp_path).as_posix(): sha256_file(path) for path in files}
    digests["out/align/model-other"] = "0"
    found = objects.folder_digest(digests, "out/align/model")
    assert found == sha256_folder(tmp_path / "out/align/model")


@pytest.mark.parametrize(
    ("made", "problems"),
    [
        (_made("promote"), 0),
        (_made("hold", why="win-rate; champion-changed"), 0),
        (_made("hold"), 1),
        (_made("promote", sha256="b" * 64), 1),
        (_made("hold", sha256="b" * 64), 2),
        (None, 1),
    ],
)
def test_the_ledgers_decision_is_the_one_that_was_committed(
    made: Decision | None, problems: int
) -> None:
    assert len(list(records.decision(COMMITTED, made))) == problems


def test_the_champion_is_the_last_one_that_was_released(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        assert list(records.champion(ledger)) == []
        for number in (1, 2):
            ledger.take_round_number()
            ledger.settle(number, True, str(number), str(number) * 64, expected=number - 1 or None)
        ledger.take_round_number()
        ledger.settle(3, False, "3", "3" * 64, expected=2)
        assert list(records.champion(ledger)) == []


def test_words_on_raters_are_those_that_the_round_froze(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.add_override(4, "safety", "accepted", "read them all")
        ledger.add_override(5, "safety", "accepted", "another round's")
        ledger.add_override(None, "r1", "suspended", "guesses", kind="rater")
        ledger.add_override(None, "r2", "ok", "came after the snapshot", kind="rater")
        at = ledger.overrides(kind="rater")[0].at
        key = rater_key("r1", "salt")
        states = {key: {"state": "suspended", "why": f"a person's word of {at}"}}
        told = audit.overrides(ledger, 4, states, {"split": {"salt": "salt"}})
    assert [(one["subject"], one["why"]) for one in told] == [
        ("safety", "read them all"),
        ("r1", "guesses"),
    ]
    assert all(one["who"] and one["at"] for one in told)
