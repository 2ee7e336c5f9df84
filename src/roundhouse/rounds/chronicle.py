"""The running account of a round: its progress on the terminal, its times, its picture in MLflow.

Training never waits for tracking and never fails by it: what MLflow does not take is said once, and
everything it lacks can be made again from the round's files. Only publishing needs the registry.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import yaml

from roundhouse import failpoints, jsonl
from roundhouse.errors import Blocked, RoundhouseError, TrackingError
from roundhouse.gate import Decision
from roundhouse.rounds import record as record_module
from roundhouse.rounds import stages
from roundhouse.rounds.begin import Round
from roundhouse.rounds.inputs import FILE as INPUTS_FILE
from roundhouse.rounds.progress import Progress
from roundhouse.rounds.publish import CHAMPION_ALIAS, Published, publish
from roundhouse.rounds.stages import StageResult
from roundhouse.projection import Data
from roundhouse.tracking import Tracker

P = ParamSpec("P")
T = TypeVar("T")

SECONDS_FILE = Path("logs") / "seconds.json"


class Chronicle:
    """Use as a context around a round; an error that leaves it marks the round's runs as failed."""

    def __init__(self, this: Round, progress: Progress | None = None) -> None:
        self.round = this
        self.tracker = Tracker(this.places.tracking_uri)
        self.progress = progress or Progress()
        self._stage_run: str | None = None
        self._warned = False
        self._closed = False
        seconds = this.workspace / SECONDS_FILE
        self.seconds: dict[str, float] = jsonl.read_json(seconds) if seconds.exists() else {}

    def __enter__(self) -> Self:
        self.progress.say(f"round {self.round.number} in {self.round.workspace}")
        # One round at a time holds the lock, so that any other run that claims to be at work is dead.
        self._try(self.tracker.reconcile, (self.round.number,))
        champion = self.round.ledger.champion()
        if champion:
            name = self.round.settings.publish.model_name
            self._try(self.tracker.set_alias, name, CHAMPION_ALIAS, champion.version)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or self._closed:
            return
        for run_id in (self._stage_run, self.run_id()):
            if run_id:
                # Another error's text may quote a row.
                reason = str(error) if isinstance(error, RoundhouseError) else type(error).__name__
                self._try(self.tracker.fail, run_id, reason)

    def run_id(self) -> str | None:
        """The round's run in MLflow: found, or made; None while MLflow is away."""
        settings = yaml.safe_load((self.round.workspace / "params.yaml").read_text(encoding="utf-8"))
        tags = {"tag": self.round.tag, "previous": self.round.previous or "none"}
        return self._try(self.tracker.round_run, self.round.number, tags, settings)

    def timed(self, work: Callable[P, T]) -> Callable[P, T]:
        """`work` with its progress shown and its seconds kept."""

        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            name = work.__name__.removeprefix("take_")
            self.progress.start(name)
            try:
                failpoints.hit("round.step", of=name)
                result = work(*args, **kwargs)
                failpoints.hit("round.stepped", of=name)
            finally:
                self._keep(name, self.progress.done())
            return result

        return run

    def run_stage(self, stage: str) -> StageResult:
        """Brings a stage up to date, streams its figures to MLflow and shows how far it is."""
        this = self.round
        self.progress.start(stage)
        parent = self.run_id()
        if parent:
            self._stage_run = self._try(self.tracker.stage_run, parent, stage)
        try:
            result = stages.run_stage(this.workspace, this.places.root, stage, self._watch)
        except Blocked as block:
            self._keep(stage, self.progress.done("blocked"))
            if self._stage_run:
                self._try(self.tracker.fail, self._stage_run, f"blocked by {block.check}")
            raise
        note = "unchanged" if result.cached else ""
        self._keep(stage, self.progress.done(note))
        if self._stage_run:
            self._try(
                self.tracker.finish_stage, self._stage_run, this.workspace, result.cached, self._data()
            )
        self._stage_run = None
        return result

    def publish(self, decision: Decision) -> Published:
        """Publishes the round, with its progress shown."""
        arguments = (self.round, decision, self.tracker, self.run_id())
        return self.timed(publish)(*arguments)

    def close(self, decision: str, reasons: tuple[str, ...]) -> dict[str, Any]:
        """Records the result in the ledger and in MLflow; returns the round's record."""
        this = self.round
        record = record_module.make(this, decision, reasons, self.seconds)
        jsonl.write_json(this.workspace / "logs" / "record.json", record)
        failpoints.hit("close.recorded")
        run_id = self.run_id()
        if run_id:
            shown = dict(self.seconds)
            tags = {"commit": record["commit"], "data_version": record["data_version"]}
            self._try(
                self.tracker.finish_round, run_id, this.workspace, decision, reasons, shown, tags
            )
        failpoints.hit("close.tracked")
        this.ledger.finish_round(
            this.number,
            state="blocked" if decision == "blocked" else "published",
            decision=decision,
            reasons=list(reasons),
            metrics=record["metrics"],
            data_version=record["data_version"],
            commit=record["commit"],
        )
        self._closed = True
        return record

    def _watch(self, journal: Path) -> None:
        self.progress.watch(journal)
        if self._stage_run and journal.exists():
            self._try(self.tracker.stream, self._stage_run, journal)

    def _keep(self, name: str, seconds: float) -> None:
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 2)
        jsonl.write_json(self.round.workspace / SECONDS_FILE, self.seconds)

    def _data(self) -> Data | None:
        """The feedback as MLflow may know it: name, digest and counts."""
        inputs = self.round.workspace / INPUTS_FILE
        if not inputs.exists():
            return None
        partitions = jsonl.read_json(inputs)["partitions"]
        return Data(
            name="feedback",
            digest=record_module.data_version(self.round.workspace),
            source=f"data/feedback @ {self.round.tag}",
            profile={
                "rows": sum(part["rows"] for part in partitions.values()),
                "partitions": len(partitions),
            },
        )

    def _try(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return call(*args, **kwargs)
        except TrackingError as error:
            if not self._warned:
                self.progress.say(f"warning: {error}; training goes on")
            self._warned = True
            return None
