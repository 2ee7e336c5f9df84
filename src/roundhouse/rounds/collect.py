"""Asking the simulated team for this round's feedback, which comes in through everyone's door."""

import subprocess
import sys
from pathlib import Path

from roundhouse import failpoints
from roundhouse.errors import StageError
from roundhouse.ingest import Report, ingest
from roundhouse.rounds import inputs as inputs_module
from roundhouse.rounds.begin import Round
from roundhouse.rounds.champion import current_champion, fetch_champion, fetch_model
from roundhouse.rounds.dvc import process_environment


def collect(this: Round) -> Report | None:
    """Makes and ingests the simulated team's rows for this round, once.

    Returns None where the simulation is off, or where the round's snapshot is already taken. A
    repeat after a crash makes the same rows again, which the ledger knows as duplicates.
    """
    row = this.ledger.round(this.number)
    frozen = inputs_module.read(this.workspace) or (row and row.inputs)
    if not this.settings.simulate.enabled or frozen:
        return None
    file = this.workspace / "logs" / "simulated.jsonl"
    _simulate(this, file)
    failpoints.hit("collect.made")
    settings = this.settings
    return ingest(
        this.ledger,
        file,
        "jsonl",
        ahead=settings.validation.max_ahead_seconds,
        days=settings.retention.days,
        redact=settings.ingest.redact,
    )


def _simulate(this: Round, file: Path) -> None:
    """Runs the simulation in a process of its own, since sampling needs torch and memory."""
    sampler = _sampler(this)
    arguments = ["--round", str(this.number), "--out", str(file)]
    if sampler:
        arguments += ["--model", str(sampler[0]), "--policy", sampler[1]]
    log = this.workspace / "logs" / "simulated.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "roundhouse.simulate", *arguments],
            cwd=this.workspace,
            env=process_environment(this.workspace, this.places.root),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise StageError(f"the simulated team ended badly: read {log}")


def _sampler(this: Round) -> tuple[Path, str] | None:
    """The model whose answers are rated: champion, else the last round's SFT, else the archive."""
    champion = current_champion(this.ledger)
    if champion:
        folder = fetch_champion(champion, this.workspace, this.places)
        return folder, f"round-{champion.round:04d}"
    if this.previous:
        folder = fetch_model(this.previous, "sft", "sampler", this.workspace, this.places)
        return folder, f"{this.previous}-sft"
    return None
