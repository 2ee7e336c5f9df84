"""Figures are sent beside the work: it never waits for them, and what failed is tried again."""

import threading
import time
from collections.abc import Iterator

import pytest

from roundhouse.errors import TrackingError
from roundhouse.rounds.sender import Sender


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def sender(warnings: list[str]) -> Iterator[Sender]:
    sender = Sender(warnings.append)
    yield sender
    sender.close()


def fail() -> None:
    raise TrackingError("MLflow is away")


def test_jobs_arrive_in_order_and_nobody_waits_for_a_slow_one(sender: Sender) -> None:
    arrived: list[str] = []
    gate = threading.Event()
    sender.send("slow", gate.wait)
    started = time.monotonic()
    for name in ("first", "second", "third"):
        sender.send(name, lambda name=name: arrived.append(name))  # type: ignore[misc]
    for step in range(100):
        sender.send("streams", lambda step=step: arrived.append(str(step)), lasting=False)  # type: ignore[misc]
    assert time.monotonic() - started < 30
    assert sender.wait(0.2) != []
    gate.set()
    assert sender.wait(10) == []
    assert arrived == ["first", "second", "third", "99"], "of a repeated job the last one counts"


def test_a_job_that_fails_is_tried_again_and_holds_up_no_other(
    sender: Sender, warnings: list[str]
) -> None:
    tries: list[str] = []

    def twice_in_vain() -> None:
        tries.append("stage")
        if len(tries) < 3:
            fail()

    done = threading.Event()
    sender.send("stage", twice_in_vain)
    sender.send("round", done.set)
    assert done.wait(10)
    # Each wait ends after one more try in vain; a busy machine may have seen one before it.
    left = [sender.wait(10) for _ in range(3)]
    assert left[-1] == []
    assert len(tries) == 3
    assert warnings == ["warning: MLflow is away; training goes on"]


def test_the_end_waits_no_longer_than_one_more_try(sender: Sender) -> None:
    sender.send("stage", fail)
    sender.send("streams", fail, lasting=False)
    started = time.monotonic()
    assert sender.wait(60) == ["stage"]
    assert time.monotonic() - started < 10


def test_what_cannot_wait_goes_first(sender: Sender) -> None:
    arrived = threading.Event()
    with sender.held():
        sender.send("stage", arrived.set)
        assert not arrived.wait(0.3)
    assert arrived.wait(10)


def test_a_mistake_of_ours_costs_no_round(sender: Sender, warnings: list[str]) -> None:
    sender.send("broken", lambda: 1 / 0)
    assert sender.wait(10) == ["broken"]
    assert "ZeroDivisionError" in warnings[0]


def test_a_warning_that_nobody_can_read_stops_nothing() -> None:
    def warn(line: str) -> None:
        raise BrokenPipeError(line)

    sender, arrived = Sender(warn), threading.Event()
    sender.send("stage", fail)
    sender.send("round", arrived.set)
    assert arrived.wait(10)
    assert sender.wait(10) == ["stage"]
    sender.close()
