"""Deciding on a round: the gate's rules over its figures, bound to exactly these bytes."""

from pathlib import Path

from roundhouse import failpoints, gate, jsonl, smoke
from roundhouse.errors import Blocked
from roundhouse.gate import Candidate, Decision
from roundhouse.hashes import sha256_file, sha256_folder
from roundhouse.rounds import inputs as inputs_module
from roundhouse.rounds.begin import Round
from roundhouse.rounds.card import write_card
from roundhouse.rounds.record import figures
from roundhouse.rounds.workspace import DECISION_FILE

MANIFEST_FILE = "manifest.json"
MODEL = Path("out") / "align" / "model"
REFERENCE = Path("out") / "sft" / "model"


def decide(this: Round) -> Decision:
    """Applies the gate; writes decision.json, the manifest of all it is bound to, the model card.

    Raises:
        Blocked: only rules that a person may overrule stand in the way.
    """
    frozen = inputs_module.read(this.workspace)
    if frozen is None:
        raise AssertionError("a round is decided after its snapshot")
    model = this.workspace / MODEL
    candidate = Candidate(
        model=sha256_folder(model),
        reference=sha256_folder(this.workspace / REFERENCE),
        champion=frozen.champion.sha256 if frozen.champion else None,
        inputs=sha256_file(this.workspace / inputs_module.FILE),
        smoke=smoke.run(model, this.settings.probes[0]),
    )
    decision = gate.decide(
        figures(this.workspace), candidate, this.settings.gate, accepted=frozen.accepted
    )
    failpoints.hit("decide.judged")
    write_manifest(this.workspace)
    failpoints.hit("decide.listed")
    jsonl.write_json(this.workspace / DECISION_FILE, decision.record())
    if decision.outcome == "blocked":
        failed = next(reason for reason in decision.reasons if reason.rule in decision.failed)
        raise Blocked(failed.rule, failed.text)
    write_card(this, decision)
    return decision


def write_manifest(workspace: Path) -> None:
    """Our own record of every byte a round publishes: path to SHA-256, sorted."""
    folders = (workspace / "data" / "feedback", workspace / "out")
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(workspace).as_posix(): sha256_file(path) for path in files}
    jsonl.write_json(workspace / MANIFEST_FILE, digests)
