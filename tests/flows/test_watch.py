"""When new feedback starts a round."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from flows import watch
from roundhouse.feedback import parse
from roundhouse.ledger import Candidate, Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import inputs
from roundhouse.rounds.git import git
from roundhouse.rounds.inputs import Inputs

ENOUGH = 5
NOW = datetime(2026, 2, 1, tzinfo=UTC)
PERSON = ("-c", "user.name=t", "-c", "user.email=t@localhost")


class Prefect:
    """A server that makes one run for each key, and says that each has ended by the next look."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def read_deployment_by_name(self, name: str) -> Any:
        return SimpleNamespace(id="3e0bd6c0-5c4f-4ae5-a62c-ff3d4b1ba0ae")

    def read_flow_runs(self, **_: object) -> list[Any]:
        return []

    def create_flow_run_from_deployment(self, *_: object, **given: Any) -> Any:
        if given["idempotency_key"] not in self.keys:
            self.keys.append(given["idempotency_key"])
        return SimpleNamespace(name="brave-fox")


class Checkout:
    """A checkout with a real ledger and real tags, looked after."""

    def __init__(self, root: Path, prefect: Prefect) -> None:
        self.places, self.prefect, self.rows = Locations(root), prefect, 0
        git("init", "--quiet", cwd=root)
        self.places.state.mkdir()
        self.watch = watch.Watch(root, "rlhf-round/schedule", ENOUGH)

    def receive(self, count: int) -> None:
        """Rows come in."""
        fields = {"kind": "demonstration", "response": "a", "rater": "r"}
        fields["created_at"] = "2026-01-01T00:00:00Z"
        names = range(self.rows, self.rows + count)
        rows = [parse(fields | {"prompt": f"prompt {name}"}, NOW) for name in names]
        self.rows += count
        with Ledger.open(self.places.ledger_url) as ledger:
            batch = ledger.start_batch("f", "jsonl")
            ledger.append(batch, [Candidate(at, row, b"") for at, row in enumerate(rows)])

    def publish(self, number: int, watermark: int) -> None:
        """A round that froze its rows at the watermark is published."""
        made = Inputs(
            round=number, at="", watermark=watermark, chain="", previous=None, champion=None,
            base="", seed=17, accepted=(), rater_states={}, partitions={},
        )  # fmt: skip
        inputs.write(self.places.root, made)
        git("add", inputs.FILE, cwd=self.places.root)
        git(*PERSON, "commit", "--quiet", "-m", tag_name(number), cwd=self.places.root)
        git("tag", tag_name(number), cwd=self.places.root)

    def starts(self) -> bool:
        """Whether a look at the ledger starts a run, by its own word and by Prefect's."""
        before = len(self.prefect.keys)
        asked = self.watch.look()
        assert asked == (len(self.prefect.keys) > before), "asked for a run that is over"
        return asked


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    prefect = Prefect()
    monkeypatch.setattr(watch, "get_client", lambda sync_client: prefect)
    return Checkout(tmp_path, prefect)


def test_rows_that_only_resumed_a_round_start_their_own(checkout: Checkout) -> None:
    checkout.receive(ENOUGH - 1)
    assert not checkout.starts()
    checkout.receive(1)
    assert checkout.starts(), "round 1 freezes its rows, and is killed"
    assert not checkout.starts()
    checkout.receive(ENOUGH)
    assert checkout.starts(), "the run finishes round 1, which has the first rows alone"
    assert not checkout.starts()
    checkout.publish(1, watermark=ENOUGH)
    assert checkout.starts()
    assert not checkout.starts()


def test_rows_that_came_while_a_round_was_finished_count_from_its_own(checkout: Checkout) -> None:
    checkout.receive(ENOUGH)
    assert checkout.starts()
    checkout.receive(ENOUGH)
    assert checkout.starts()
    checkout.publish(1, watermark=ENOUGH + 2)
    assert not checkout.starts(), "three new rows"
    checkout.receive(2)
    assert checkout.starts()


def test_rows_of_a_round_that_was_blocked_start_no_second_one(checkout: Checkout) -> None:
    checkout.receive(ENOUGH)
    assert checkout.starts()
    checkout.publish(1, watermark=ENOUGH)
    checkout.receive(ENOUGH)
    assert checkout.starts(), "this one is blocked"
    checkout.receive(ENOUGH - 1)
    assert not checkout.starts()
    checkout.receive(1)
    assert checkout.starts()


def test_a_new_runner_counts_from_the_last_published_round(checkout: Checkout) -> None:
    checkout.receive(2 * ENOUGH)
    checkout.publish(1, watermark=ENOUGH + 1)
    assert not checkout.starts()
    checkout.receive(1)
    assert checkout.starts()
    checkout.watch = watch.Watch(checkout.places.root, "rlhf-round/schedule", ENOUGH)
    assert checkout.starts(), "what the old one had asked for may have died with it"
