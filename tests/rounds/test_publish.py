"""Publishing again after a crash: the same result, and never other bytes under the same tag."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from roundhouse import jsonl
from roundhouse.errors import DataError, RoundhouseError
from roundhouse.gate import Decision
from roundhouse.ledger import Round
from roundhouse.rounds import audit, begin, snapshot
from roundhouse.rounds.decide import MANIFEST_FILE, MODEL
from roundhouse.rounds.publish import publish
from roundhouse.rounds.workspace import DECISION_FILE
from roundhouse.tracking import Tracker


class Registry(Tracker):
    """A registry that gives out one version."""

    def register(
        self,
        round_run_id: str,
        model_folder: Path,
        name: str,
        tags: Mapping[str, str],
        description: str = "",
    ) -> str:
        return "2"

    def show_decisions(self, made: Mapping[tuple[int, str], str]) -> None:
        return

    def show_champion(self, name: str, version: str) -> bool:
        return True


@pytest.fixture
def decided(second: begin.Round) -> Decision:
    """Round 2 has its snapshot and a model that the gate promotes."""
    snapshot.take_snapshot(second)
    (second.workspace / MODEL).mkdir(parents=True)
    decision = Decision("promoted", (), {"model": "a" * 64})
    jsonl.write_json(second.workspace / DECISION_FILE, decision.record())
    jsonl.write_json(second.workspace / MANIFEST_FILE, {})
    (second.workspace / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n", encoding="utf-8")
    return decision


def test_a_hold_by_a_changed_champion_can_be_said_again(
    second: begin.Round, decided: Decision
) -> None:
    second.ledger.settle(1, True, "1", "b" * 64, expected=None)
    first = publish(second, decided, Registry("sqlite:///none", "l"), "run")
    assert (first.outcome, first.reasons) == ("held", ("champion-changed",))
    assert publish(second, decided, Registry("sqlite:///none", "l"), "run") == first


def test_the_audit_tells_what_became_of_a_round() -> None:
    tagged = Decision("promoted", (), {}).record()
    held = Round(2, "published", "", decision="held", reasons=["champion-changed"])
    found = audit.result(tagged, held)
    assert found["decision"] == "held"
    assert [reason["rule"] for reason in found["reasons"]] == ["champion-changed"]
    assert audit.result(tagged, None) == {"decision": "promoted", "reasons": []}


def test_other_bytes_do_not_pass_under_a_tag_that_is_out(
    second: begin.Round, decided: Decision
) -> None:
    publish(second, decided, Registry("sqlite:///none", "l"), "run")
    other = Decision("promoted", (), {"model": "c" * 64})
    with pytest.raises(DataError, match="round-0002 was published with other bytes"):
        publish(second, other, Registry("sqlite:///none", "l"), "run")


def test_a_push_that_fails_says_why(second: begin.Round, decided: Decision) -> None:
    local = second.workspace / ".dvc" / "config.local"
    text = local.read_text(encoding="utf-8")
    remote = str(second.places.state / "dvc" / "remote")
    (second.places.state / "file").write_text("no folder", encoding="utf-8")
    local.write_text(text.replace(remote, str(second.places.state / "file" / "x")), "utf-8")
    with pytest.raises(RoundhouseError, match=r"dvc push failed in .*: ERROR: .*\w"):
        publish(second, decided, Registry("sqlite:///none", "l"), "run")
