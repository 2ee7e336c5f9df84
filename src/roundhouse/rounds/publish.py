"""Publishing, in an order in which no name ever points at missing data.

    1. dvc push        the bytes
    2. commit and tag  what names the bytes
    3. registry        a model version that names the tag
    4. decision row    the champion, by one conditional update in the ledger
    5. alias           MLflow's picture of the champion

Each step finds out whether it was done already, so a publish that was killed is simply run again.
"""

from roundhouse.errors import TrackingError
from roundhouse.gate import Decision
from roundhouse.rounds import inputs as inputs_module
from roundhouse.rounds import record, workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.decide import MODEL
from roundhouse.rounds.dvc import dvc
from roundhouse.tracking import Tracker

CHAMPION_ALIAS = "champion"


def publish(this: Round, decision: Decision, tracker: Tracker, run_id: str | None) -> str:
    """Publishes a promoted or held round and returns its version in the registry.

    Raises:
        TrackingError: the registry is away; the bytes and the tag are safe, `resume` does the rest.
        LedgerError: the champion is not the one that the round was measured against.
    """
    dvc("push", "--quiet", workspace=this.workspace, root=this.places.root)
    if not record.tag_commit(this):
        message = f"Round {this.number}: {decision.outcome}"
        workspace.commit(this.workspace, this.number, this.previous, message)
    workspace.publish_tag(this.workspace, this.places, this.number, this.settings.publish.git_remote)
    version = _register(this, decision, tracker, run_id)
    _settle(this, decision, version)
    champion = this.ledger.champion()
    if champion:
        tracker.set_alias(this.settings.publish.model_name, CHAMPION_ALIAS, champion.version)
    return version


def _register(this: Round, decision: Decision, tracker: Tracker, run_id: str | None) -> str:
    if run_id is None:
        raise TrackingError(
            f"MLflow at {tracker.where} is away, so round {this.number} is not in the registry: "
            f"bring it back, then run `roundhouse resume {this.number}`"
        )
    tags = {
        "tag": this.tag,
        "commit": record.tag_commit(this),
        "data_version": record.data_version(this.workspace),
        "sha256": str(decision.bound["model"]),
        "decision": decision.outcome,
    }
    name = this.settings.publish.model_name
    return tracker.register(run_id, this.workspace / MODEL, name, tags)


def _settle(this: Round, decision: Decision, version: str) -> None:
    frozen = inputs_module.read(this.workspace)
    this.ledger.settle(
        round=this.number,
        promote=decision.outcome == "promoted",
        version=version,
        sha256=str(decision.bound["model"]),
        expected=frozen.champion.decision if frozen and frozen.champion else None,
        why="; ".join(decision.failed) or "every rule passed",
    )
