"""MLflow as a projection of a round's files, and the only module that imports it.

One parent run a round, one child run a stage. Everything in MLflow is made from files of the
round's folder (logs/, out/, params.yaml, decision.json), and every call may be repeated: after a
crash or after MLflow was away, the same calls fill in what is missing and double nothing. Runs and
versions are found again by their tags. No text of anyone's feedback goes in: datasets are names and
digests, and sampled answers are kept only where they answer a probe of the settings.
"""

import functools
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from roundhouse import jsonl, plots, projection, spool
from roundhouse.environment import MLFLOW, PRIVATE
from roundhouse.errors import TrackingError
from roundhouse.projection import Data

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

P = ParamSpec("P")
R = TypeVar("R")

#: A call that failed after this long is not tried again before the rest is over (seconds).
COSTLY, REST = 2.0, 60.0
#: The UI opens with rounds and their charts, not with pages for traces of applications.
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "One run a round, one run in it for every stage.",
}
#: Time between two sendings while a stage runs (seconds).
EVERY = 2.0
#: Entries of one log_batch request; MLflow takes 1000 metrics but only 100 parameters or tags.
BATCH, SMALL_BATCH = 1000, 100


def _tracked(
    method: "Callable[Concatenate[Tracker, P], R]",
) -> "Callable[Concatenate[Tracker, P], R]":
    """Turns whatever goes wrong into TrackingError, and lets a slow failure rest for a while."""

    @functools.wraps(method)
    def call(self: "Tracker", /, *args: P.args, **kwargs: P.kwargs) -> R:
        started = time.monotonic()
        if started < self._rests_until:
            raise TrackingError(f"MLflow at {self.where} was away just now; not asked again yet")
        try:
            return method(self, *args, **kwargs)
        except TrackingError:
            raise
        # Any failure at all: training must never end because of what only shows it.
        except Exception as error:
            if time.monotonic() - started > COSTLY:
                self._rests_until = time.monotonic() + REST
            reason = _masked(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
            # Not chained: a traceback would show the address with its password.
            raise TrackingError(f"MLflow at {self.where}: {reason}") from None

    return call


class Tracker:
    """One MLflow experiment. Making one costs nothing; the first call connects.

    Every method raises TrackingError, and nothing else, when MLflow does not do its part.

    Args:
        uri: `http://...` of a server, or a database URL such as `sqlite:///...`.
        experiment: its name; made where it does not exist.
    """

    def __init__(self, uri: str, experiment: str = "roundhouse") -> None:
        self._uri = uri
        self.experiment = experiment
        self._rests_until = 0.0
        self._next_send = 0.0

    @property
    def where(self) -> str:
        """The URI without a password."""
        return _masked(self._uri)

    @_tracked
    def round_run(
        self, number: int, tags: Mapping[str, str], params: Mapping[str, Any], started: float = 0.0
    ) -> str:
        """The round's parent run: found by its tag, or made.

        Args:
            number: of the round.
            tags: plain names; each becomes `roundhouse.NAME`. `commit` also names the run's source.
            params: settings, nested as in params.yaml.
            started: seconds since 1970; 0 is now. Counts only where the run is made.
        """
        own = {f"roundhouse.{name}": value for name, value in tags.items()}
        if commit := tags.get("commit"):
            own["mlflow.source.git.commit"] = commit
        own |= {"mlflow.source.name": "roundhouse round", "mlflow.source.type": "JOB"}
        key = {"roundhouse.round": str(number), "roundhouse.kind": "round"}
        run = self._find_or_make(key, own, f"round-{number:04d}", int(started * 1000))
        self._add_params(run, projection.flatten(params))
        return str(run.info.run_id)

    @_tracked
    def stage_run(
        self,
        round_run_id: str,
        stage: str,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        started: float = 0.0,
    ) -> str:
        """The child run of a stage: found by its tags, or made. A dead one runs again."""
        number = self._client.get_run(round_run_id).data.tags["roundhouse.round"]
        key = {"mlflow.parentRunId": round_run_id, "roundhouse.stage": stage}
        own = {"roundhouse.round": number, "roundhouse.kind": "stage"}
        own |= {f"roundhouse.{name}": value for name, value in (tags or {}).items()}
        own |= {"mlflow.source.name": f"tasks/{stage}.py", "mlflow.source.type": "JOB"}
        run = self._find_or_make(key, own, f"{int(number):04d} {stage}", int(started * 1000))
        self._add_params(run, projection.flatten(params or {}))
        return str(run.info.run_id)

    @_tracked
    def stream(self, run_id: str, journal: Path) -> None:
        """Sends what a journal has gained since last time. Cheap to call often: it sends rarely."""
        if time.monotonic() >= self._next_send:
            self._send(run_id, journal)
            self._next_send = time.monotonic() + EVERY

    @_tracked
    def finish_stage(
        self, run_id: str, folder: Path, cached: bool = False, data: Data | None = None
    ) -> None:
        """Logs what a finished stage left in the round's folder and closes its run.

        Args:
            run_id: of the stage's run; it and the round's run get the figures.
            folder: the round's folder, with out/STAGE and logs/STAGE.jsonl.
            cached: whether DVC took the outputs from its cache instead of running the stage.
            data: what the stage read.
        """
        run = self._client.get_run(run_id)
        stage = run.data.tags["roundhouse.stage"]
        if run.info.status == "FINISHED":
            return
        journal = folder / "logs" / f"{stage}.jsonl"
        self._send(run_id, journal)
        parent = self._client.get_run(run.data.tags["mlflow.parentRunId"])
        if data is not None:
            self._log_data(run_id, data)
            self._log_data(parent.info.run_id, data)
        self._log_artifacts(run_id, folder, stage)
        figures = projection.figures(folder, stage)
        streamed = spool.history(journal)
        alone = {name: value for name, value in figures.items() if name not in streamed}
        self._log_figures(run, alone)
        self._log_figures(parent, figures)
        self._client.set_tag(run_id, "roundhouse.cached", str(cached).lower())
        times = spool.span(journal)
        self._client.set_terminated(run_id, end_time=times[1] if times else None)

    @_tracked
    def fail(self, run_id: str, reason: str) -> None:
        """Closes a run that did not reach its end, with one line on why."""
        self._client.set_tag(run_id, "roundhouse.ended", reason)
        self._client.set_terminated(run_id, "FAILED")

    @_tracked
    def register(
        self, round_run_id: str, model_folder: Path, name: str, tags: Mapping[str, str]
    ) -> str:
        """Puts a model folder into the registry; returns its version, the same on every call.

        The files become the artifact `model` of the round's run, and the version points there.
        """
        number = self._client.get_run(round_run_id).data.tags["roundhouse.round"]
        version = self._version(name, number)
        if version is None:
            self._client.log_artifacts(round_run_id, str(model_folder), "model")
            if not self._client.search_registered_models(f"name = '{name}'"):
                self._client.create_registered_model(name)
            own = {"roundhouse.round": number}
            own |= {f"roundhouse.{tag}": value for tag, value in tags.items()}
            source = f"runs:/{round_run_id}/model"
            self._client.create_model_version(name, source, run_id=round_run_id, tags=own)
            version = self._version(name, number)
        if version is None:
            raise TrackingError(f"MLflow at {self.where}: version of round {number} vanished")
        return version

    @_tracked
    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Points an alias such as `champion` at a version; the ledger holds the decision itself."""
        self._client.set_registered_model_alias(name, alias, version)

    @_tracked
    def finish_round(
        self,
        run_id: str,
        folder: Path,
        decision: str,
        reasons: Sequence[str],
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        """Logs the decision, every stage's figures and the times; closes the round's run.

        Args:
            run_id: of the round's run.
            folder: the round's folder; its params.yaml, inputs.json and decision.json are kept.
            decision: promoted, held, blocked, skipped: a result. Anything else closes as failed.
            reasons: one line each.
            seconds: by stage or step.
        """
        run = self._client.get_run(run_id)
        stages = sorted(path.name for path in (folder / "out").glob("*") if path.is_dir())
        figures: dict[str, float] = {}
        for stage in stages:
            figures |= projection.figures(folder, stage)
        times = {f"seconds/{name}": value for name, value in (seconds or {}).items()}
        self._log_figures(run, figures | times)
        for file in ("params.yaml", "inputs.json", "decision.json"):
            if (folder / file).exists():
                self._client.log_artifact(run_id, str(folder / file))
        summary = projection.note(run.data.tags, decision, reasons, figures, times)
        self._client.set_tag(run_id, "mlflow.note.content", summary)
        self._client.set_tag(run_id, "roundhouse.reasons", "; ".join(reasons) or "none")
        self._client.set_tag(run_id, "roundhouse.decision", decision)
        done = decision in ("promoted", "held", "blocked", "skipped")
        self._client.set_terminated(run_id, "FINISHED" if done else "FAILED")

    @_tracked
    def reconcile(self, alive: Collection[int]) -> list[str]:
        """Marks runs that claim to run though nobody works on their round; returns their ids."""
        ours = {str(number) for number in alive} | {None}
        running = self._search("attributes.status = 'RUNNING'")
        dead = [r.info.run_id for r in running if r.data.tags.get("roundhouse.round") not in ours]
        for run_id in dead:
            self._client.set_tag(run_id, "roundhouse.ended", "its process was gone")
            self._client.set_terminated(run_id, "KILLED")
        return dead

    @functools.cached_property
    def _client(self) -> "MlflowClient":
        if self._database is not None:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        client: MlflowClient = _mlflow().MlflowClient(self._uri, self._uri)
        return client

    @functools.cached_property
    def _experiment_id(self) -> str:
        # Without a server MLflow would put artifacts into the working folder.
        beside = str(self._database.parent / "artifacts") if self._database else None
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return self._client.create_experiment(self.experiment, beside, EXPERIMENT_TAGS)
            except _mlflow().MlflowException:
                # Another process made it in between; if not, the next line says what is wrong.
                found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            raise TrackingError(f"MLflow at {self.where}: no experiment {self.experiment}")
        return str(found.experiment_id)

    @property
    def _database(self) -> Path | None:
        path = self._uri.removeprefix("sqlite:///")
        return Path(path).absolute() if path != self._uri else None

    def _search(self, condition: str) -> "list[Run]":
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                condition,
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
        condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in key.items())
        found = self._search(condition)
        for surplus in found[1:]:
            self._client.delete_run(surplus.info.run_id)
        return found[0] if found else None

    def _find_or_make(
        self, key: Mapping[str, str], tags: Mapping[str, str], name: str, started: int
    ) -> "Run":
        run = self._one(key)
        if run is None:
            self._client.create_run(
                self._experiment_id,
                start_time=started or int(time.time() * 1000),
                tags=dict(tags) | dict(key),
                run_name=name,
            )
            run = self._one(key)
        elif run.info.status in ("FAILED", "KILLED"):
            self._client.delete_tag(run.info.run_id, "roundhouse.ended")
            self._client.update_run(run.info.run_id, status="RUNNING")
        if run is None:
            raise TrackingError(f"MLflow at {self.where}: run {name} vanished after it was made")
        return run

    def _send(self, run_id: str, journal: Path) -> None:
        pending = spool.Spool(run_id, journal)
        if points := pending.unsent():
            self._log_metrics(run_id, [_metric(*point) for point in points])
            pending.sent()

    def _add_params(self, run: "Run", params: Mapping[str, str]) -> None:
        param, known = _mlflow().entities.Param, run.data.params
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
            _metric(name, 0, now, value)
            for name, value in figures.items()
            if math.isfinite(value) and run.data.metrics.get(projection.metric_name(name)) != value
        ]
        self._log_metrics(run.info.run_id, new)

    def _log_data(self, run_id: str, data: Data) -> None:
        dataset = _mlflow().entities.Dataset(
            name=data.name,
            digest=data.digest,
            source_type="dvc",
            source=jsonl.dumps({"uri": data.source}),
            profile=jsonl.dumps(dict(data.profile)),
        )
        tags = [_mlflow().entities.InputTag("mlflow.data.context", "round")]
        self._client.log_inputs(run_id, [_mlflow().entities.DatasetInput(dataset, tags)])

    def _log_artifacts(self, run_id: str, folder: Path, stage: str) -> None:
        out = folder / "out" / stage
        with tempfile.TemporaryDirectory(prefix="roundhouse-") as scratch:
            calibration = out / "calibration.json"
            plots.draw(
                spool.history(folder / "logs" / f"{stage}.jsonl"),
                jsonl.read_json(calibration) if calibration.exists() else None,
                Path(scratch) / "plots",
            )
            if (out / "samples.jsonl").exists():
                table = projection.probe_answers(out / "samples.jsonl", folder / "params.yaml")
                jsonl.write_json(Path(scratch) / "samples.json", table)
                shown = jsonl.dumps([{"path": "samples.json", "type": "table"}])
                self._client.set_tag(run_id, "mlflow.loggedArtifacts", shown)
            if (out / "figures.json").exists():
                jsonl.write_json(Path(scratch) / "figures.json", projection.figures(folder, stage))
            self._client.log_artifacts(run_id, scratch)

    def _version(self, name: str, number: str) -> str | None:
        """The round's version; a second one, made by a repeated request, is deleted."""
        condition = f"name = '{name}' and tags.`roundhouse.round` = '{number}'"
        found = sorted(int(v.version) for v in self._client.search_model_versions(condition))
        for surplus in found[1:]:
            self._client.delete_model_version(name, str(surplus))
        return str(found[0]) if found else None


@functools.cache
def _mlflow() -> Any:
    # Read at import: a process that was not started with `environment()` must not send telemetry.
    for name, value in (PRIVATE | MLFLOW).items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: PLC0415 - takes 2 s, so only where something is tracked

    return mlflow


def _masked(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


def _metric(name: str, step: int, time_ms: int, value: float) -> "Metric":
    name = projection.metric_name(name)
    metric: Metric = _mlflow().entities.Metric(name, value, time_ms, step)
    return metric
