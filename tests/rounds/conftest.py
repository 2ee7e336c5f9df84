"""Checkouts: two tiny rounds played through every real component, or one round just begun."""

import hashlib
import io
import json
import subprocess
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from roundhouse import gate, jsonl
from roundhouse.feedback import parse
from roundhouse.hashes import sha256_file
from roundhouse.ledger import Candidate, Ledger
from roundhouse.locations import Locations
from roundhouse.params import load
from roundhouse.rounds import git, record, snapshot, workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.decide import write_manifest
from roundhouse.rounds.dvc import dvc, stores

Command = Callable[..., subprocess.CompletedProcess[str]]


class Played(NamedTuple):
    """A checkout after two rounds.

    Attributes:
        root: the checkout.
        before: its tracked state before the first round.
        records: what `round --json` printed, a round each.
        output: what the rounds printed on standard error.
    """

    root: Path
    before: dict[str, object]
    records: list[dict[str, Any]]
    output: str

    @property
    def places(self) -> Locations:
        """Where its state lies."""
        return Locations(self.root)

    def ledger(self) -> Ledger:
        """Its ledger."""
        return Ledger.open(self.places.ledger_url, expected=True)


def tracked_state(root: Path) -> dict[str, object]:
    """Everything of a checkout that a round must leave alone."""
    tracked = git.git("ls-files", cwd=root).splitlines()
    return {
        "files": {name: (root / name).read_bytes() for name in tracked},
        "index": (root / ".git" / "index").read_bytes(),
        "HEAD": (root / ".git" / "HEAD").read_bytes(),
        "branches": git.git("for-each-ref", "refs/heads", "refs/remotes", cwd=root),
        "status": git.git("status", "--porcelain", cwd=root),
        "config": (root / ".git" / "config").read_bytes(),
    }


#: Drawn anew: the checkout has a copy of this file, in which it would be found.
_DRAWN = uuid.uuid4().hex
#: What stands in the environment and in private settings of who runs a round, and nowhere else.
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": f"aws-{_DRAWN}",
    "HF_TOKEN": f"hub-{_DRAWN}",
    "MLFLOW_TRACKING_PASSWORD": f"mlflow-{_DRAWN}",
    "PREFECT_API_AUTH_STRING": f"admin:prefect-{_DRAWN}",
    "PREFECT_SERVER_API_AUTH_STRING": f"admin:prefect-{_DRAWN}",
}
DVC_SECRET = f"dvc-{_DRAWN}"


@pytest.fixture(scope="session")
def played(make_checkout: Callable[..., Path], roundhouse: Command) -> Played:
    """Two rounds, the second on the first one's champion."""
    root = make_checkout()
    private = root / ".dvc" / "config.local"
    private.write_text(
        f"['remote \"private\"']\n    url = s3://bucket\n    secret_access_key = {DVC_SECRET}\n",
        encoding="utf-8",
    )
    private.chmod(0o600)
    before = tracked_state(root)
    records, output = [], ""
    for _ in range(2):
        done = roundhouse(root, "round", "--json", **SECRETS)
        assert done.returncode == 0, done.stderr
        records.append(json.loads(done.stdout))
        output += done.stderr
    return Played(root, before, records, output)


@pytest.fixture
def second(make_checkout: Callable[..., Path]) -> Round:
    """Round 2 before its snapshot: round 1 is published, and one row came since."""
    root = make_checkout()
    places = Locations(root)
    ledger = Ledger.open(places.ledger_url)
    receive(ledger, "first")
    snapshot_and_publish(open_round(places, ledger, None))
    receive(ledger, "second")
    return open_round(places, ledger, "round-0001")


def snapshot_and_publish(this: Round) -> None:
    """The round's data, committed and tagged as if its stages had run."""
    snapshot.take_snapshot(this)
    dvc("push", "--quiet", workspace=this.workspace, root=this.places.root)
    (this.workspace / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n", encoding="utf-8")
    write_manifest(this.workspace)
    workspace.commit(this.workspace, this.number, this.previous, f"Round {this.number}")
    workspace.publish_tag(this.workspace, this.places, this.number, None)


def receive(ledger: Ledger, prompt: str) -> None:
    """One demonstration comes in."""
    row: dict[str, Any] = {"kind": "demonstration", "prompt": prompt, "response": "a", "rater": "r"}
    row = parse(row | {"created_at": "2026-01-01T00:00:00Z"}, datetime.now(UTC))
    ledger.append(ledger.start_batch("f", "jsonl"), [Candidate(1, row, b"")])


def open_round(places: Locations, ledger: Ledger, previous: str | None) -> Round:
    """A round with its clone, before its first step."""
    text = (places.root / "params.yaml").read_text(encoding="utf-8")
    number = ledger.take_round_number()
    plan = workspace.Plan(git.head(places.root), previous, text, allow_dirty=False)
    folder = workspace.create(places, number, plan)
    return Round(number, places, folder, load(folder / "params.yaml"), ledger, previous, ())


def publish_held(this: Round, reason: str, files: Mapping[str, bytes]) -> None:
    """A held round that is over, as if stages had made these files below out/; not in MLflow."""
    frozen = snapshot.take_snapshot(this)
    dvc("push", "--quiet", workspace=this.workspace, root=this.places.root)
    outs = [
        {"path": folder, "md5": _keep(this, folder, files)}
        for folder in sorted({str(Path(name).parent) for name in files})
    ]
    lock = {"schema": "2.0", "stages": {"made": {"cmd": "none", "outs": outs}}}
    (this.workspace / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    write_manifest(this.workspace)
    model, figures = hashlib.sha256().hexdigest(), record.figures(this.workspace)
    bound = {"model": model, "reference": model, "champion": None}
    bound |= {"inputs": sha256_file(this.workspace / "inputs.json")}
    bound |= {"figures": gate.fingerprint(figures)}
    decision = gate.Decision("held", (gate.Reason(reason, False, 0.0, 1.0, "too low"),), bound)
    jsonl.write_json(this.workspace / workspace.DECISION_FILE, decision.record())
    workspace.commit(this.workspace, this.number, this.previous, f"Round {this.number}")
    workspace.publish_tag(this.workspace, this.places, this.number, None)
    this.ledger.settle(this.number, False, str(this.number), model, None, reason)
    assert frozen.champion is None
    this.ledger.finish_round(
        this.number,
        state="published",
        decision="held",
        reasons=[reason],
        metrics=figures,
        data_version=record.data_version(this.workspace),
        commit=record.tag_commit(this),
    )


def _keep(this: Round, folder: str, files: Mapping[str, bytes]) -> str:
    """Writes the files of a folder into clone, cache and remote; returns DVC's name of its list."""
    entries = []
    for name, data in sorted(files.items()):
        path = this.workspace / name
        if str(Path(name).parent) == folder:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            entries.append({"md5": hashlib.md5(data).hexdigest(), "relpath": path.name})
            _put(this, entries[-1]["md5"], data)
    listed = json.dumps(entries, sort_keys=True).encode()
    md5 = hashlib.md5(listed).hexdigest() + ".dir"
    _put(this, md5, listed)
    return md5


def _put(this: Round, md5: str, data: bytes) -> None:
    for store in stores(this.places):
        store.put(md5, io.BytesIO(data))
