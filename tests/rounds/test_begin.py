"""What a round refuses before it takes a number."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roundhouse import jsonl
from roundhouse.errors import BusyError, CheckoutError, OvertakenError, SettingsError, UsageError
from roundhouse.feedback import parse
from roundhouse.gate import Decision
from roundhouse.ledger import Candidate, Erasures, Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import begin, git
from roundhouse.rounds.begin import Request, Round, Skipped
from roundhouse.rounds.workspace import DECISION_FILE
from tests.rounds.conftest import receive, snapshot_and_publish


def _seen(root: Path) -> int:
    return begin.read_inputs(root, "round-0001").watermark


def _ask(root: Path, *overrides: str) -> None:
    with begin.open_round(Request(root, overrides=overrides)):
        pass


def test_a_skipped_round_leaves_a_reason_and_takes_no_number(second: Round) -> None:
    root, before = second.places.root, len(second.ledger.rounds())
    request = Request(root, overrides=("simulate.enabled=false",), min_feedback=2)
    for _ in range(2):
        with pytest.raises(Skipped) as skipped, begin.open_round(request):
            pass
    assert str(skipped.value) == "1 new rows of feedback since round-0001, 2 wanted"
    assert [reason for _, reason in second.ledger.skips()] == [str(skipped.value)]
    Erasures(second.ledger).forget_row(next(second.ledger.rows(after=_seen(root)))["id"], "asked")
    assert begin.new_rows(second.places, second.ledger) == 0, "an erased row is none"
    busy = BusyError("roundhouse round (process 1 on here) is at work")
    with pytest.raises(BusyError):
        begin.skip_busy(Request(root), busy)
    assert begin.skip_busy(Request(root, finish=True), busy) == str(busy)
    with pytest.raises(OvertakenError):
        begin.skip_busy(Request(root, finish=True), OvertakenError("taken over"))
    assert [reason for _, reason in second.ledger.skips()] == [str(skipped.value), str(busy)]
    assert len(second.ledger.rounds()) == before


def test_a_model_from_scratch_needs_demonstrations_before_a_round_begins(
    make_checkout: Callable[..., Path], shared: Path
) -> None:
    root = make_checkout(**{"simulate.enabled": False})
    with Ledger.open(Locations(root).ledger_url) as ledger:
        vote: dict[str, Any] = {"kind": "comparison", "prompt": "p", "responses": ["a", "b"]}
        vote |= {"choice": 0, "rater": "r", "created_at": "2026-01-01T00:00:00Z"}
        row = parse(vote, datetime.now(UTC))
        ledger.append(ledger.start_batch("f", "jsonl"), [Candidate(1, row, b"")])
        with pytest.raises(SettingsError, match=r"^model.base: scratch, and the ledger has no"):
            _ask(root)
        assert ledger.rounds() == []
        _ask(root, f"model.base={shared / 'models' / 'stories260K'}")
        receive(ledger, "a demonstration")
        _ask(root)
        assert len(ledger.rounds()) == 2


def test_a_base_model_without_room_for_a_prompt_and_its_answer_takes_no_number(
    make_checkout: Callable[..., Path], shared: Path
) -> None:
    base = shared / "models" / "stories260K"
    root = make_checkout(**{"model.base": str(base), "model.response_tokens": 500})
    with pytest.raises(SettingsError, match=r"stories260K has 512 positions"):
        _ask(root)
    with Ledger.open(Locations(root).ledger_url) as ledger:
        assert ledger.rounds() == []


@pytest.mark.parametrize("decided", [True, False])
def test_a_round_that_was_decided_is_never_given_up(second: Round, decided: bool) -> None:
    """The remote may be away for longer than `schedule.max_tries` runs of the schedule."""
    root, ledger = second.places.root, second.ledger
    ledger.finish_round(1, state="published")
    with begin.open_round(Request(root)) as left:
        pass
    if decided:
        outcome = Decision("promoted", (), {"model": "a" * 64})
        jsonl.write_json(left.workspace / DECISION_FILE, outcome.record())
    for _ in range(left.settings.schedule.max_tries):
        ledger.try_round(left.number)
    with begin.open_round(Request(root, finish=True)) as this:
        assert this.number == (left.number if decided else left.number + 1)
    states = {row.number: row.state for row in ledger.rounds()}
    assert states[left.number] == ("open" if decided else "abandoned")


def test_edited_code_that_is_gone_costs_no_scheduled_round(second: Round) -> None:
    root, ledger = second.places.root, second.ledger
    ledger.finish_round(1, state="published")
    with begin.open_round(Request(root, allow_dirty=True)) as left:
        pass
    # As if it had died before its clone was in place.
    shutil.rmtree(left.workspace)
    with pytest.raises(UsageError, match=f"round {left.number} carries edited code, which is not"):
        _resume(root, left.number)
    with begin.open_round(Request(root, finish=True)) as this:
        assert this.number == left.number + 1
    states = {row.number: row.state for row in ledger.rounds()}
    assert (states[left.number], states[this.number]) == ("abandoned", "open")


def test_a_round_goes_on_over_the_locks_of_a_git_that_was_killed(second: Round) -> None:
    root = second.places.root
    second.ledger.finish_round(1, state="published")
    with begin.open_round(Request(root)) as left:
        pass
    tags = root / ".git" / "refs" / "tags"
    dead = [left.workspace / ".git" / name for name in ("index.lock", "HEAD.lock")]
    dead += [tags / "round-0007.lock"]
    alive = tags / "round-0008.lock"
    for lock in (*dead, alive):
        lock.touch()
    os.utime(dead[-1], (0, 0))
    _resume(root, left.number)
    assert not any(lock.exists() for lock in dead)
    assert alive.exists()
    git.git("add", "params.yaml", cwd=left.workspace)


def test_a_round_that_was_overtaken_is_closed(second: Round) -> None:
    root, ledger = second.places.root, second.ledger
    ledger.finish_round(1, state="published")
    with begin.open_round(Request(root)) as third:
        snapshot_and_publish(third)
        begin.give_up_overtaken(third)
    rows = {row.number: row for row in ledger.rounds()}
    assert (rows[1].state, rows[2].state, rows[3].state) == ("published", "abandoned", "open")
    assert rows[2].reasons == ["overtaken by round 3, which used its feedback"]


def test_a_round_that_an_earlier_one_overtook_does_not_stop_the_schedule(second: Round) -> None:
    root, ledger = second.places.root, second.ledger
    ledger.finish_round(1, state="published")
    ledger.finish_round(2, state="blocked")
    with begin.open_round(Request(root)) as third:
        pass
    with begin.open_round(Request(root)) as fourth:
        pass
    # The third is resumed by hand, after the fourth was begun and died.
    snapshot_and_publish(third)
    ledger.finish_round(third.number, state="published")
    with begin.open_round(Request(root, finish=True)) as fifth:
        assert fifth.number == fourth.number + 1
    row = ledger.round(fourth.number)
    assert row and row.state == "abandoned"
    assert row.reasons == ["overtaken by round 3, which used its feedback"]


def _resume(root: Path, number: int) -> None:
    with begin.open_round(Request(root, resume=number)):
        pass


def test_prompts_may_not_change_sides_between_rounds(second: Round) -> None:
    snapshot_and_publish(second)
    root = second.places.root
    with pytest.raises(SettingsError, match=r"^split: differs from round-0002's"):
        _ask(root, "split.eval_share=0.2")
    before = len(second.ledger.rounds())
    _ask(root, "ppo.steps=3")
    assert len(second.ledger.rounds()) == before + 1


def test_a_published_round_that_is_not_known_here_is_not_forgotten(second: Round) -> None:
    """On another machine, without its tag, round 2 would begin anew from the first row."""
    root, ledger = second.places.root, second.ledger
    ledger.finish_round(1, state="finished", commit=git.git("rev-parse", "round-0001", cwd=root))
    git.git("tag", "--delete", "round-0001", cwd=root)
    before = len(ledger.rounds())
    with pytest.raises(CheckoutError, match=r"round 1 is published, but .* has no tag round-0001"):
        _ask(root)
    assert len(ledger.rounds()) == before
