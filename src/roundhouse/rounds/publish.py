"""Publishing, in an order in which no name ever points at missing data.

    1. dvc push        the bytes
    2. commit and tag  what names the bytes
    3. registry        a model version that names the tag
    4. decision row    the champion, by one conditional update in the ledger
    5. alias           MLflow's picture of the champion

Each step finds out whether it was done already, so a publish that was killed is simply run again.
"""

from dataclasses import dataclass

from roundhouse.gate import Decision
from roundhouse.locations import tag_name
from roundhouse.rounds import workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.decide import MODEL
from roundhouse.rounds.dvc import dvc
from roundhouse.rounds.git import git, run
from roundhouse.tracking import Tracker


@dataclass(frozen=True)
class Published:
    """Where a round's results are.

    Attributes:
        commit: git commit that its tag points at.
        version: version in the model registry.
        data_version: DVC's hash of data/feedback.
        champion: the round whose model is the champion now, None where there is none.
    """

    commit: str
    version: str
    data_version: str
    champion: int | None


def publish(this: Round, decision: Decision, tracker: Tracker, run_id: str) -> Published:
    """Publishes a promoted or held round; see the module's text for the order."""
    dvc("push", "--quiet", workspace=this.workspace, root=this.places.root)
    commit = _tag(this, decision)
    version = tracker.register(
        run_id,
        this.workspace / MODEL,
        this.settings.publish.model_name,
        {"round": this.tag, "commit": commit, "sha256": str(decision.bound["model"])},
    )
    champion = _settle(this, decision, version)
    if champion is not None:
        tracker.set_alias(this.settings.publish.model_name, "champion", champion.version)
    return Published(
        commit, version, data_version(this), champion.round if champion else None
    )
