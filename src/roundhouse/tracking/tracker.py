"""A round's runs in MLflow: one parent a round, one child a stage."""

import shutil
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from roundhouse import jsonl, plots, projection, rater_plots, spool
from roundhouse.projection import Data
from roundhouse.report.rater_page import rater_page
from roundhouse.tracking.connection import metric, mlflow, tracked
from roundhouse.tracking.registry import Registry

#: Files of a stage's output that are kept as they are: numbers and names of checks, nobody's words.
SHOWN = ("figures.json", "report.json", "calibration.json")
#: The page for a lead of raters, on the raters stage's run and on the round's.
RATERS_PAGE = "raters.html"
#: Time between two sendings while a stage runs (seconds).
EVERY = 2.0


class Tracker(Registry):
    """The runs and versions of one ledger, in one experiment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._next_send = 0.0

    @tracked
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
        own = projection.tags(tags)
        own |= {"mlflow.source.name": "roundhouse round", "mlflow.source.type": "JOB"}
        key = {"roundhouse.round": str(number), "roundhouse.kind": "round"}
        run = self._find_or_make(key, own, f"round-{number:04d}", int(started * 1000))
        self._add_params(run, projection.flatten(params))
        return str(run.info.run_id)

    @tracked
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
        own |= projection.tags(tags or {})
        own |= {"mlflow.source.name": f"tasks/{stage}.py", "mlflow.source.type": "JOB"}
        run = self._find_or_make(key, own, f"{int(number):04d} {stage}", int(started * 1000))
        self._add_params(run, projection.flatten(params or {}))
        return str(run.info.run_id)

    @tracked
    def stream(self, run_id: str, journal: Path) -> None:
        """Sends what a journal has gained since last time. Cheap to call often: it sends rarely."""
        if time.monotonic() >= self._next_send:
            self._send(run_id, journal)
            self._next_send = time.monotonic() + EVERY

    @tracked
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
        self._log_story(run_id, parent, folder / "out" / stage / "story.json")
        figures = projection.figures(folder, stage)
        streamed = spool.history(journal)
        alone = {name: value for name, value in figures.items() if name not in streamed}
        self._log_figures(run, alone)
        self._log_figures(parent, figures)
        self._client.set_tag(run_id, "roundhouse.cached", str(cached).lower())
        times = spool.span(journal)
        self._client.set_terminated(run_id, end_time=times[1] if times else None)

    @tracked
    def fail(self, run_id: str, reason: str) -> None:
        """Closes a run that did not reach its end, with one line on why."""
        self._client.set_tag(run_id, "roundhouse.ended", reason)
        self._client.set_terminated(run_id, "FAILED")

    @tracked
    def finish_round(
        self,
        run_id: str,
        folder: Path,
        decision: str,
        reasons: Sequence[str],
        seconds: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        simulation: Mapping[str, float] | None = None,
    ) -> None:
        """Logs the decision, every stage's figures and the times; closes the round's run.

        Args:
            run_id: of the round's run.
            folder: the round's folder; its params.yaml, inputs.json and decision.json are kept.
            decision: promoted, held, blocked, skipped: a result. Anything else closes as failed.
            reasons: one line each.
            seconds: by stage or step.
            tags: as in round_run, for what was not known when the round began.
            simulation: what only the simulation knows, `simulation/...`; made after the decision.
        """
        run = self._client.get_run(run_id)
        stages = sorted(path.name for path in (folder / "out").glob("*") if path.is_dir())
        figures: dict[str, float] = {}
        for stage in stages:
            figures |= projection.figures(folder, stage)
        times = {f"seconds/{name}": value for name, value in (seconds or {}).items()}
        truth = dict(simulation or {})
        self._log_figures(run, figures | times | truth)
        for file in ("params.yaml", "inputs.json", "decision.json", "model-card.md"):
            if (folder / file).exists():
                self._client.log_artifact(run_id, str(folder / file))
        known = {"decision": decision, "reasons": "; ".join(reasons) or "none", **(tags or {})}
        known |= {"simulated": "true"} if truth else {}
        own = run.data.tags | projection.tags(known)
        own["mlflow.note.content"] = projection.note(own, decision, reasons, figures, times, truth)
        tag = mlflow().entities.RunTag
        changed = dict(own.items() - run.data.tags.items())
        self._client.log_batch(run_id, tags=[tag(*pair) for pair in changed.items()])
        done = decision in ("promoted", "held", "blocked", "skipped")
        self._client.set_terminated(run_id, "FINISHED" if done else "FAILED")

    @tracked
    def running(self, host: str | None = None) -> dict[str, int]:
        """Runs that claim to be at work, id to round: of one machine, or of all."""
        key = {"roundhouse.host": host} if host else {}
        found = self._search(key, "attributes.status = 'RUNNING'")
        return {run.info.run_id: int(run.data.tags["roundhouse.round"]) for run in found}

    @tracked
    def end_dead(self, run_ids: Collection[str]) -> list[str]:
        """Closes those of these runs that still claim to be at work as killed; returns their ids.

        The caller knows that nobody worked on them when they were listed as running.
        """
        dead = [id for id in run_ids if self._client.get_run(id).info.status == "RUNNING"]
        for run_id in dead:
            self._client.set_tag(run_id, "roundhouse.ended", "its process was gone")
            self._client.set_terminated(run_id, "KILLED")
        return dead

    def reconcile(self, alive: Collection[int]) -> list[str]:
        """Closes runs of all rounds but these as killed. For the owner of this ledger's rounds."""
        return self.end_dead([id for id, number in self.running().items() if number not in alive])

    def page(self, run_id: str | None = None) -> str | None:
        """Address of a run, or of all runs, in the UI; None where there is no server."""
        if not self._uri.startswith("http"):
            return None
        runs = f"{self.where.rstrip('/')}/#/experiments/{self._known_experiment()}/runs"
        return f"{runs}/{run_id}" if run_id else runs

    @tracked
    def _known_experiment(self) -> str:
        return self._experiment_id

    def _send(self, run_id: str, journal: Path) -> None:
        pending = spool.Spool(run_id, journal)
        if points := pending.unsent():
            self._log_metrics(run_id, [metric(*point) for point in points])
            pending.sent()

    def _log_data(self, run_id: str, data: Data) -> None:
        dataset = mlflow().entities.Dataset(
            name=data.name,
            digest=data.digest,
            source_type="dvc",
            source=jsonl.dumps({"uri": data.source}),
            profile=jsonl.dumps(dict(data.profile)),
        )
        tags = [mlflow().entities.InputTag("mlflow.data.context", "round")]
        self._client.log_inputs(run_id, [mlflow().entities.DatasetInput(dataset, tags)])

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
            for file in filter(Path.exists, (out / name for name in SHOWN)):
                shutil.copy(file, scratch)
            self._client.log_artifacts(run_id, scratch)

    def _log_story(self, run_id: str, parent: Any, path: Path) -> None:
        """What the raters stage tells: pictures and the page beside them; the round has it too."""
        if not path.exists():
            return
        story = jsonl.read_json(path)
        with tempfile.TemporaryDirectory(prefix="roundhouse-") as scratch:
            pictures = rater_plots.draw(story, Path(scratch) / "plots")
            page = Path(scratch) / RATERS_PAGE
            number = int(parent.data.tags["roundhouse.round"])
            page.write_text(rater_page(number, story, pictures), "utf-8")
            self._client.log_artifacts(run_id, scratch)
            self._client.log_artifact(parent.info.run_id, str(page))
