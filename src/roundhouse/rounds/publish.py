"""Publishing, in an order in which no name ever points at missing data.

    1. dvc push        the bytes
    2. commit and tag  what names the bytes
    3. registry        a model version that names the tag
    4. decision row    the champion, by one conditional update in the ledger
    5. alias           MLflow's picture of the champion

Each step finds out whether it was done already, so a publish that was killed is simply run again.
"""

import contextlib

from roundhouse.errors import RoundhouseError
from roundhouse.gate import Decision
from roundhouse.ledger import Champion as ChampionRow
from roundhouse.locations import tag_name
from roundhouse.rounds import record, workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.decide import MODEL
from roundhouse.rounds.dvc import dvc
from roundhouse.tracking import Tracker


def publish(this: Round, decision: Decision, tracker: Tracker) -> str:
    """Publishes a promoted or held round and returns its version in the registry.

    Raises:
        RoundhouseError: a step failed; `roundhouse resume` goes on with it.
    """
    dvc("push", "--quiet", workspace=this.workspace, root=this.places.root)
    if not record.tag_commit(this):
        message = f"Round {this.number}: {decision.outcome}"
        workspace.commit(this.workspace, this.number, this.previous, message)
    workspace.publish_tag(this.workspace, this.places, this.number, this.settings.publish.git_remote)
    version = _register(this, decision, tracker)
    champion = this.ledger.settle(
        round=this.number,
        promote=decision.outcome == "promoted",
        version=version,
        sha256=str(decision.bound["model"]),
        expected=decision_expected(this),
    )
    return version
