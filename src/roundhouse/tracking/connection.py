"""One MLflow experiment: connected to late, asked again after a failure only when that is cheap."""

import functools
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from roundhouse import projection
from roundhouse.environment import MLFLOW, PRIVATE
from roundhouse.errors import TrackingError, masked
from roundhouse.processes import birth

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound="Connection")

#: A call that failed after this long is not tried again before the rest is over (seconds).
COSTLY, REST = 2.0, 60.0
#: Entries of one log_batch request; MLflow takes 1000 metrics but only 100 parameters or tags.
BATCH, SMALL_BATCH = 1000, 100
#: The UI opens with rounds and their charts, not with pages for traces of applications.
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "One run a round, one run in it for every stage.",
}
#: Tag of everything that belongs to one ledger.
LEDGER = "roundhouse.ledger"
#: What MLflow answers where a request that was sent again finds its own first one.
DONE_BEFORE = ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")


def tracked(method: Callable[Concatenate[C, P], R]) -> Callable[Concatenate[C, P], R]:
    """Turns whatever goes wrong into TrackingError, and lets a slow failure rest for a while.

    One such call at a time: what is not there is made, and two that look at once would make two.
    """

    @functools.wraps(method)
    def call(self: C, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._turn:
            started = time.monotonic()
            if started < self._rests_until:
                raise TrackingError(
                    f"MLflow at {self.where} was away just now; not asked again yet"
                )
            try:
                return method(self, *args, **kwargs)
            except TrackingError:
                raise
            # Any failure at all: training must never end because of what only shows it.
            except Exception as error:
                if time.monotonic() - started > COSTLY:
                    self._rests_until = time.monotonic() + REST
                # A database's statement says nothing to whoever reads this.
                said = f"{type(error).__name__}: {error}".partition("[SQL:")[0]
                reason = masked(" ".join(said.split()))[:300]
                # Not chained: a traceback would show the address with its password.
                raise TrackingError(f"MLflow at {self.where}: {reason}") from None

    return call


class Connection:
    """One MLflow experiment. Making one costs nothing; the first call connects.

    Every public method raises TrackingError, and nothing else, when MLflow does not do its part.

    Args:
        uri: `http://...` of a server, or a database URL such as `sqlite:///...`.
        ledger: name of the ledger (`Ledger.identity`); only its runs and versions are seen.
        experiment: its name; made where it does not exist.
        host: where we are, by which other ones' runs are told from ours.
    """

    def __init__(
        self,
        uri: str,
        ledger: str,
        experiment: str = "roundhouse",
        host: str = socket.gethostname(),
    ) -> None:
        self._uri = uri
        self.ledger = ledger
        self.experiment = experiment
        self.host = host
        self._rests_until = 0.0
        self._turn = threading.RLock()

    @property
    def where(self) -> str:
        """The URI without a password."""
        return masked(self._uri)

    @property
    def absent(self) -> bool:
        """Whether the store is a file that is not there: reading must not make one."""
        return self._database is not None and not self._database.exists()

    def ask_again(self) -> None:
        """Ends the rest after a failure: for what cannot wait, or a person who asks."""
        self._rests_until = 0.0

    @functools.cached_property
    def _client(self) -> "MlflowClient":
        if self._database is not None:
            make_store(self._database)
        client: MlflowClient = mlflow().MlflowClient(self._uri, self._uri)
        return client

    @functools.cached_property
    def _experiment_id(self) -> str:
        # Without a server MLflow would put artifacts into the working folder.
        beside = str(self._database.parent / "artifacts") if self._database else None
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            once(self._client.create_experiment, self.experiment, beside, EXPERIMENT_TAGS)
            found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            raise TrackingError(f"MLflow at {self.where}: experiment {self.experiment} vanished")
        return str(found.experiment_id)

    @property
    def _database(self) -> Path | None:
        path = self._uri.removeprefix("sqlite:///")
        return Path(path).absolute() if path != self._uri else None

    def _search(self, key: Mapping[str, str], condition: str = "") -> "list[Run]":
        """Runs of this ledger with these tags, oldest first."""
        tags = {LEDGER: self.ledger} | dict(key)
        wanted = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                " and ".join(filter(None, [*wanted, condition])),
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found

    def _one(self, key: Mapping[str, str]) -> "Run | None":
        """The oldest run with these tags. A request that was sent again after its answer was lost
        can have made a second one, which is deleted."""
        found = self._search(key)
        for surplus in found[1:]:
            once(self._client.delete_run, surplus.info.run_id)
        return found[0] if found else None

    def _find_or_make(
        self, key: Mapping[str, str], tags: Mapping[str, str], name: str, started: int
    ) -> "Run":
        own = {LEDGER: self.ledger, "roundhouse.host": self.host}
        run = self._one(key)
        if run is None:
            self._client.create_run(
                self._experiment_id,
                start_time=started or int(time.time() * 1000),
                tags=dict(tags) | dict(key) | own,
                run_name=name,
            )
            run = self._one(key)
        elif run.info.status in ("FAILED", "KILLED"):
            if "roundhouse.ended" in run.data.tags:
                once(self._client.delete_tag, run.info.run_id, "roundhouse.ended")
            self._client.set_tag(run.info.run_id, "roundhouse.host", self.host)
            self._client.update_run(run.info.run_id, status="RUNNING")
        if run is None:
            raise TrackingError(f"MLflow at {self.where}: run {name} vanished after it was made")
        return run

    def _add_params(self, run: "Run", params: Mapping[str, str]) -> None:
        param, known = mlflow().entities.Param, run.data.params
        new = [param(name, value) for name, value in params.items() if name not in known]
        for start in range(0, len(new), SMALL_BATCH):
            self._client.log_batch(run.info.run_id, params=new[start : start + SMALL_BATCH])

    def _log_metrics(self, run_id: str, metrics: "Sequence[Metric]") -> None:
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + BATCH])

    def _log_figures(self, run: "Run", figures: Mapping[str, float]) -> None:
        """At step 0; a value the run has already is not logged again."""
        now = int(time.time() * 1000)
        new = [
            metric(name, 0, now, value)
            for name, value in figures.items()
            if math.isfinite(value) and run.data.metrics.get(projection.metric_name(name)) != value
        ]
        self._log_metrics(run.info.run_id, new)


def make_store(database: Path) -> None:
    """Makes a store's database file where there is none, whole or not at all.

    MLflow would make it in its place by some forty migrations, and a process that is killed among
    them leaves a file that no later one can open.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    if database.exists():
        return
    mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    # What a killed process left; SQLite's journal beside it bears its name.
    for left in database.parent.glob(f".{database.name}.*"):
        maker = left.name.removeprefix(f".{database.name}.").partition("-")[0]
        if birth(int(maker)) is None:
            left.unlink(missing_ok=True)
    part = database.with_name(f".{database.name}.{os.getpid()}")
    place = str(database.parent / "artifacts")
    store = SqlAlchemyStore(f"sqlite:///{part}", place)  # type: ignore[no-untyped-call]
    store.engine.dispose()
    try:
        # Not over the file of somebody who was quicker.
        os.link(part, database)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def once(call: Callable[..., Any], *args: Any) -> None:
    """Makes or deletes something. The client repeats a request whose answer was lost, and the
    repeat then finds the thing made, or gone, already."""
    try:
        call(*args)
    except mlflow().exceptions.MlflowException as error:
        if error.error_code not in DONE_BEFORE:
            raise


@functools.cache
def mlflow() -> Any:
    """The library, imported where something is tracked: that takes 2 s."""
    # Read at import: a process that was not started with `environment()` must not send telemetry.
    for name, value in (PRIVATE | MLFLOW).items():
        os.environ.setdefault(name, value)
    import mlflow as library  # noqa: PLC0415 - see above

    # What the store logs with a traceback, on a full disk say, it raises too, and we say it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return library


def metric(name: str, step: int, time_ms: int, value: float) -> "Metric":
    """One point as MLflow takes it."""
    name = projection.metric_name(name)
    made: Metric = mlflow().entities.Metric(name, value, time_ms, step)
    return made
