"""Killing a round wherever it stands, and what must hold after each death and at the end."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import failpoints
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.processes import ROUND_MARK
from roundhouse.rounds import git, objects
from roundhouse.rounds.begin import read_inputs, read_settings
from roundhouse.rounds.stages import STAGES
from tests.conftest import command_environment

#: Who dies: the process that passes the place, or, while it waits there, a process from outside.
TARGETS = ("self", "flow", "stage", "command", "all")

#: Files that the flow or a stage writes whole or not at all, in the order of a round.
_JSON = {"validate": "report.json", "raters": "raters.json", "reward": "calibration.json"}
_ROWS = {"validate": "excluded.jsonl", "raters": "pairs.jsonl", "evaluate": "answers.jsonl"}
_MODELS = ("sft", "reward", "align")


class Kill(NamedTuple):
    """One death: at a failpoint (`name[of]`, its nth pass), of one of `TARGETS`.

    `action` is `kill`, `torn` for a place that writes, or `full` or `io`, errors of the disk: the
    command then ends with one line.
    """

    place: str
    target: str = "self"
    nth: int = 1
    action: str = "kill"


def places() -> Iterator[Kill]:
    """Every place that a first round passes, in its order."""
    for name in ("begin.numbered", "workspace.made", "begin.opened", "round.step[collect]"):
        yield Kill(name)
    yield Kill("collect.made")
    yield Kill("ledger.append", nth=2)
    for name in ("round.stepped[collect]", "round.step[snapshot]", "rows.write[0001.jsonl]"):
        yield Kill(name)
    for name in ("snapshot.partition", "snapshot.added", "snapshot.frozen"):
        yield Kill(name)
    yield Kill("json.write[inputs.json]", action="torn")
    yield Kill("round.stepped[snapshot]")
    for stage in STAGES:
        yield from _stage_places(stage)
    yield Kill("round.step[decide]")
    yield Kill("decide.judged")
    yield Kill("json.write[manifest.json]", action="torn")
    yield Kill("decide.listed")
    yield Kill("json.write[decision.json]", action="torn")
    for name in ("round.stepped[decide]", "round.step[publish]", "publish.begin"):
        yield Kill(name)
    for name in ("publish.pushed", "publish.committed", "publish.tagged", "publish.registered"):
        yield Kill(name)
    for name in ("ledger.decide", "publish.settled", "round.stepped[publish]"):
        yield Kill(name)
    yield Kill("json.write[record.json]", action="torn")
    yield Kill("close.recorded")
    yield Kill("close.tracked")


def _stage_places(stage: str) -> Iterator[Kill]:
    yield Kill(f"stage.started[{stage}]")
    yield Kill(f"stage.begin[{stage}]")
    if stage not in ("validate", "raters"):
        yield Kill(f"stage.step[{stage}]")
    if stage in ("sft", "reward", "align"):
        yield Kill(f"stage.step[{stage}]", nth=2, action="torn")
        kept = "model" if stage == "reward" else stage
        yield Kill(f"checkpoint.write[{kept}]", nth=2)
        yield Kill(f"checkpoint.saved[{kept}]", nth=2)
    if stage in _MODELS:
        yield Kill("model.save[judge]" if stage == "reward" else "model.save[model]")
    if stage in _ROWS:
        yield Kill(f"rows.write[{_ROWS[stage]}]")
    if stage in _JSON:
        yield Kill(f"json.write[{_JSON[stage]}]", action="torn")
    yield Kill("json.write[figures.json]", action="torn")
    yield Kill(f"stage.end[{stage}]")
    yield Kill(f"stage.ended[{stage}]")


def drawn(seed: int, count: int) -> list[Kill]:
    """That many deaths of one round, in the order in which they can be reached."""
    draw = random.Random(seed)
    every = list(places())
    picked = sorted(draw.sample(range(len(every)), count))
    return [_by_someone(every[place], draw) for place in picked]


def _by_someone(kill: Kill, draw: random.Random) -> Kill:
    """Half of the deaths strike the process at the place itself, half come from outside."""
    if kill.action == "torn" or draw.random() < 0.5:
        return kill
    inside = kill.place.startswith(("stage.begin", "stage.step", "stage.end[", "model.", "rows."))
    targets = TARGETS[1:] if inside and "[0001" not in kill.place else ("flow", "command", "all")
    return kill._replace(target=draw.choice(targets))


def play(
    root: Path, kills: Sequence[Kill], env: Mapping[str, str] = {}, finish: bool = True
) -> list[str]:
    """Round 1 of a checkout, killed again and again, then let finish; returns what struck.

    A place that is not passed any more, since its step was done before an earlier death, strikes
    nobody, and the round may end before all deaths are used up.
    """
    struck = []
    for kill in kills:
        if _finished(root):
            break
        if _run_into(root, kill, env):
            struck.append(f"{kill.place} {kill.target} {kill.action}")
        check_always(root)
    if finish and not _finished(root):
        assert _command(root, env).wait(1500) == 0, (root / "state" / "kill.log").read_text()
    return struck


def _run_into(root: Path, kill: Kill, env: Mapping[str, str]) -> bool:
    """Starts or resumes the round with a death laid out for it; returns whether it came to that."""
    once = root / "state" / "struck"
    once.parent.mkdir(exist_ok=True)
    once.unlink(missing_ok=True)
    action = kill.action if kill.target == "self" else "delay:300"
    orders = {failpoints.VARIABLE: f"{kill.place}={action}@{kill.nth}", failpoints.ONCE: str(once)}
    process = _command(root, {**env, **orders})
    if kill.target != "self":
        while process.poll() is None and not once.exists():
            time.sleep(0.05)
        if process.poll() is None:
            _strike(root, kill.target, process)
    code = process.wait(1500)
    if kill.action in ("full", "io") and once.exists():
        _said_so(root, code)
    return once.exists()


def _said_so(root: Path, code: int) -> None:
    """One line with what is wrong and where, and no traceback on the terminal."""
    said = (root / "state" / "kill.log").read_text(encoding="utf-8")
    lines = [line for line in said.splitlines() if line.startswith("roundhouse: ")]
    assert code == 1, said
    assert len(lines) == 1, said
    assert re.search(r"/\S+: (no space left on its disk \(.*free\)|the disk fails)", lines[0]), said
    assert "Traceback" not in said


def without_remote(root: Path, env: Mapping[str, str] = {}) -> None:
    """The round goes on while DVC's remote is away: it is left unpublished, and says so."""
    remote = root / "state" / "dvc" / "remote"
    kept = remote.with_name("kept")
    if remote.exists():
        remote.rename(kept)
    remote.write_text("not a folder", encoding="utf-8")
    code = _command(root, env).wait(1500)
    said = (root / "state" / "kill.log").read_text(encoding="utf-8")
    remote.unlink()
    if kept.exists():
        kept.rename(remote)
    assert code == 1, said
    assert "dvc push failed" in said, said
    assert "Traceback" not in said
    assert git.round_tags(root) == []


def _command(root: Path, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """`round`, or `resume 1` once the round has its number."""
    with_ledger = (root / "state" / "ledger.db").exists()
    begun = with_ledger and bool(_rounds(root))
    arguments = ["resume", "1"] if begun else ["round"]
    # A file, not a pipe: what a killed flow leaves behind would hold the pipe open.
    with (root / "state" / "kill.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "roundhouse.cli", *arguments, "--json"],
            cwd=root,
            env={**command_environment(root), **env},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _strike(root: Path, target: str, command: "subprocess.Popen[bytes]") -> None:
    """kill -9 from outside."""
    lines = dict(of(root))
    named = {
        "flow": [pid for pid, line in lines.items() if " -m flows " in line],
        "stage": [pid for pid, line in lines.items() if " -m tasks." in line],
        "command": [command.pid],
        "all": [*lines, command.pid],
    }[target]
    assert named, (target, lines)
    for pid in named:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if target == "command":
        # The flow is left alone, waiting; its terminal is gone.
        for pid in [pid for pid, line in lines.items() if " -m flows " in line]:
            os.kill(pid, signal.SIGKILL)


def of(root: Path) -> Iterator[tuple[int, str]]:
    """Live processes that belong to a checkout's rounds, with their command lines."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            where = Path(os.readlink(folder / "cwd"))
        except OSError:
            continue
        marked = any(entry.startswith(f"{ROUND_MARK}=".encode()) for entry in environment)
        if marked and (where == root or root in where.parents) and int(folder.name) != os.getpid():
            yield int(folder.name), line


def check_always(root: Path) -> None:
    """What holds at every moment: the counts, and nothing published or released by halves."""
    places = Locations(root)
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        counts = ledger.counts()
        assert counts.received == counts.accepted + counts.duplicate + counts.quarantined
        champion, decisions = ledger.champion(), ledger.decisions()
        ledger.verify_chain()
    tags = git.round_tags(root)
    assert len(decisions) <= len(tags) <= 1
    if tags:
        # A name never points at missing data.
        files = objects.published(places, tag_name(1))
        assert set(files) == set(objects.manifest(root, tag_name(1)))
        decision = json.loads(git.show(root, tag_name(1), "decision.json") or "{}")
        assert champion is None or decision["outcome"] == "promoted"
    else:
        assert champion is None


def published(root: Path, number: int = 1) -> dict[str, str]:
    """Path to SHA-256 of everything that a round published.

    The validation's report names the moment of the snapshot, after which no row may be dated: with
    that moment masked, it too must be the same.
    """
    places, report = Locations(root), "out/validate/report.json"
    digests = objects.manifest(root, tag_name(number))
    data = objects.read(places, tag_name(number), report)
    assert hashlib.sha256(data).hexdigest() == digests[report]
    settings = read_settings(root, tag_name(number))
    at = datetime.fromisoformat(read_inputs(root, tag_name(number)).at).timestamp()
    latest = str(at + settings.validation.max_ahead_seconds).encode()
    assert data.count(latest) == 1
    return digests | {report: hashlib.sha256(data.replace(latest, b"0")).hexdigest()}


def check_end(root: Path) -> None:
    """Whatever a round leaves behind is there exactly once, and no process is left."""
    from mlflow import MlflowClient  # noqa: PLC0415 - the real client, only here

    assert list(of(root)) == []
    places = Locations(root)
    client = MlflowClient(places.tracking_uri, places.tracking_uri)
    experiment = client.get_experiment_by_name("roundhouse")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 7
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_model_versions("name = 'roundhouse'")) == 1
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        assert [decision.round for decision in ledger.decisions()] == [1]
        assert [row.state for row in ledger.rounds()] == ["published"]
    assert git.round_tags(root) == [1]


def _rounds(root: Path) -> list[Any]:
    with Ledger.open(Locations(root).ledger_url) as ledger:
        return list(ledger.rounds())


def _finished(root: Path) -> bool:
    return (root / "state" / "ledger.db").exists() and any(
        row.state == "published" for row in _rounds(root)
    )
