"""The running account of a round: its progress on the terminal, its times, its picture in MLflow.

Training never waits for tracking and never fails by it: what MLflow does not take is said once, and
everything it lacks can be made again from the round's files. Only publishing needs the registry.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from roundhouse import failpoints, jsonl
from roundhouse.errors import Blocked, OvertakenError, RoundhouseError, TrackingError
from roundhouse.gate import Decision
from roundhouse.rounds import begin, picture, stages
from roundhouse.rounds import record as record_module
from roundhouse.rounds.begin import Round
from roundhouse.rounds.progress import Progress
from roundhouse.rounds.publish import Published, publish
from roundhouse.rounds.release import show_champion, show_decisions
from roundhouse.rounds.sender import Sender
from roundhouse.rounds.stages import StageResult

P = ParamSpec("P")
T = TypeVar("T")

SECONDS_FILE = Path("logs") / "seconds.json"
#: Seconds that the end of a round waits for MLflow: to publish, to take what is not sent yet, and
#: to hear that the round failed.
PUBLISH, DRAIN, FAIL = 60.0, 60.0, 5.0


class Chronicle:
    """Use as a context around a round; an error that leaves it marks the round's runs as failed.

    Args:
        this: the round.
        progress: where its steps are shown.
        page: address of its flow run in the Prefect UI, where there is a server.
    """

    def __init__(
        self, this: Round, progress: Progress | None = None, page: str | None = None
    ) -> None:
        self.round = this
        self.tracker = picture.open_tracker(this.places, this.ledger)
        self.progress = progress or Progress()
        self.sender = Sender(self.progress.say)
        self.page: str | None = None
        self._tags = {"previous": this.previous or "none"} | ({"prefect": page} if page else {})
        self._runs: dict[str, str] = {}
        self._stage = ""
        self._cached: dict[str, bool] = {}
        self._closed = False
        seconds = this.workspace / SECONDS_FILE
        self.seconds: dict[str, float] = jsonl.read_json(seconds) if seconds.exists() else {}

    def __enter__(self) -> Self:
        self.progress.say(f"round {self.round.number} in {self.round.workspace}")
        # One round at a time holds the lock: any other run that claims to be at work is dead.
        self.sender.send("the dead", partial(self.tracker.reconcile, (self.round.number,)))
        self.sender.send("the champion", self._show_released)
        self.sender.send("the round", self._begin)
        for workspace in picture.behind(self.round.places):
            if workspace != self.round.workspace:
                self.sender.send(workspace.name, partial(picture.make_up, self.tracker, workspace))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whoever has overtaken this process may have published the round: its runs are theirs.
        if error is not None and not self._closed and not isinstance(error, OvertakenError):
            # Another error's text may quote a row.
            reason = str(error) if isinstance(error, RoundhouseError) else type(error).__name__
            for stage in {self._stage, ""}:
                self._send_failure(stage, reason)
            self.sender.wait(FAIL)
        self.sender.close()

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
        this, self._stage = self.round, stage
        self.progress.start(stage)
        self.sender.send(f"{stage} begins", partial(self._run, stage))
        try:
            result = stages.run_stage(this.workspace, this.places.root, stage, self._watch)
        except Blocked as block:
            self._keep(stage, self.progress.done("blocked"))
            self._send_failure(stage, f"blocked by {block.check}")
            raise
        self._keep(stage, self.progress.done("unchanged" if result.cached else ""))
        self._cached[stage] = result.cached
        self.sender.send(stage, partial(self._finish_stage, stage, result.cached))
        self._stage = ""
        return result

    def publish(self, decision: Decision) -> Published:
        """Publishes the round, with its progress shown.

        Raises:
            TrackingError: the registry is away; the message says what is done and what is not.
        """
        try:
            with self.sender.held():
                run_id = self._registered_run()
                return self.timed(publish)(self.round, decision, self.tracker, run_id)
        except TrackingError as error:
            number = self.round.number
            raise TrackingError(
                f"{error}: round {number} is not in the registry yet; bring MLflow back, then run "
                f"`roundhouse resume {number}`, or leave it to the next scheduled run"
            ) from None

    def close(self, decision: str, reasons: tuple[str, ...]) -> dict[str, Any]:
        """Records the result in the ledger and in MLflow; returns the round's record."""
        this = self.round
        record = record_module.make(this, decision, reasons, self.seconds)
        jsonl.write_json(this.workspace / picture.RECORD_FILE, record)
        failpoints.hit("close.recorded")
        self._send_end(record)
        failpoints.hit("close.tracked")
        begin.give_up_overtaken(this)
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

    def _send_end(self, record: dict[str, Any]) -> None:
        """The last sending; what MLflow does not take in time is left to a later round, or `up`."""
        unsent = self.round.workspace / picture.UNSENT_FILE
        jsonl.write_json(unsent, self._cached)
        self.sender.send("round", partial(self._finish_round, record))
        self.tracker.ask_again()
        # What an earlier round still waits for is its own.
        others = {one.name for one in picture.behind(self.round.places)} - {unsent.parent.name}
        if not set(self.sender.wait(DRAIN)) - others:
            unsent.unlink()

    def _begin(self) -> None:
        self.page = self.tracker.page(self._run())

    def _show_released(self) -> None:
        show_decisions(self.round.ledger, self.tracker)
        if not show_champion(self.round.places, self.round.ledger, self.tracker):
            self.progress.say(
                "warning: MLflow's alias champion shows another ledger's model: "
                "set publish.model_name to a name of its own"
            )

    def _run(self, stage: str = "") -> str:
        """The run of a stage, or of the round."""
        this = self.round
        if stage not in self._runs:
            if stage:
                self._runs[stage] = self.tracker.stage_run(self._run(), stage)
            else:
                made = picture.round_run(self.tracker, this.workspace, this.number, self._tags)
                self._runs[stage] = made
        return self._runs[stage]

    def _registered_run(self) -> str | None:
        """The round's run; MLflow gets a while to come back, if it is being started again."""
        until = time.monotonic() + PUBLISH
        while True:
            self.tracker.ask_again()
            try:
                return self._run()
            except TrackingError:
                if time.monotonic() > until:
                    return None
            time.sleep(5.0)

    def _finish_stage(self, stage: str, cached: bool) -> None:
        this = self.round
        picture.finish_stage(self.tracker, self._run(stage), this.workspace, this.number, cached)

    def _finish_round(self, record: dict[str, Any]) -> None:
        picture.finish_round(self.tracker, self._run(), self.round.workspace, record)

    def _send_failure(self, stage: str, reason: str) -> None:
        self.sender.send(stage or "round", partial(self._fail, stage, reason))

    def _fail(self, stage: str, reason: str) -> None:
        self.tracker.fail(self._run(stage), reason)

    def _watch(self, journal: Path) -> None:
        self.progress.watch(journal)
        if journal.exists():
            work = partial(self._stream, self._stage, journal)
            self.sender.send(f"{self._stage} streams", work, lasting=False)

    def _stream(self, stage: str, journal: Path) -> None:
        self.tracker.stream(self._run(stage), journal)

    def _keep(self, name: str, seconds: float) -> None:
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 2)
        jsonl.write_json(self.round.workspace / SECONDS_FILE, self.seconds)
