"""What `roundhouse up` looks after between rounds: the dead, MLflow's picture, and new feedback.

A thread beside the runner; whatever fails is said in the log and tried again.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.logging import get_logger

from flows import reconcile
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import mend, picture
from roundhouse.rounds.begin import has_history, last_tag, new_rows, read_inputs
from roundhouse.tracking import Tracker

#: Time between two looks at the ledger, and at processes and MLflow (seconds).
FEEDBACK, MEND = 10.0, 30.0
#: States of a run that is at work, or about to be.
_AHEAD = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]


class Watch:
    """One checkout under `roundhouse up`.

    Args:
        root: the checkout.
        deployment: name of the deployment, flow/name.
        enough: new rows that start a round; None never does.
    """

    def __init__(self, root: Path, deployment: str, enough: int | None) -> None:
        self.places = Locations(root)
        self.deployment = deployment
        self.enough = enough
        self._tracker: Tracker | None = None
        # Rows up to here have started a round, whatever became of it.
        self._asked = 0
        self._tag: str | None = None
        # A runner that starts again asks again: what it had asked for may have died with it.
        self._key = uuid4().hex
        self._log = get_logger("roundhouse")

    def start(self) -> None:
        """Looks after it from now on, until the process ends."""
        jobs: list[tuple[Callable[[], object], float]] = [(self.mend, MEND)]
        if self.enough is not None:
            jobs.append((self.look, FEEDBACK))
        for work, every in jobs:
            threading.Thread(target=self._again, args=(work, every), daemon=True).start()

    def mend(self) -> None:
        """Ends what is dead in Prefect and in MLflow, and sends what MLflow missed."""
        for name in reconcile.end_dead(self.places.root):
            self._log.warning("flow run %s was dead: marked as crashed", name)
        if not has_history(self.places):
            return
        with Ledger.open(self.places.ledger_url, expected=True) as ledger:
            self._tracker = self._tracker or picture.open_tracker(self.places, ledger)
            mend.mend(self.places, ledger, self._tracker)

    def look(self) -> bool:
        """Starts a round if enough feedback has come; says whether it did.

        One round for every `enough` rows: those that have started one start no second, and while a
        round is at work nothing starts.
        """
        self._count_from(last_tag(self.places.root))
        expected = has_history(self.places)
        with Ledger.open(self.places.ledger_url, expected=expected) as ledger:
            watermark = ledger.watermark()
            if watermark - self._asked < (self.enough or 0):
                return False
            new = new_rows(self.places, ledger)
        if new < (self.enough or 0) or mend.at_work(self.places) or not self._ask(watermark, new):
            return False
        self._asked = watermark
        return True

    def _count_from(self, tag: str | None) -> None:
        """Counts from a round's own rows once it is published.

        The run that was asked for may have finished a round that an earlier one had left, whose
        rows were frozen before: those that came since have had no round.
        """
        if tag and tag != self._tag:
            self._asked = read_inputs(self.places.root, tag).watermark
            self._tag = tag

    def _ask(self, watermark: int, new: int) -> bool:
        """Asks Prefect for a round; False where one is ahead."""
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(self.deployment)
            ahead = client.read_flow_runs(
                deployment_filter=DeploymentFilter.model_validate(
                    {"id": {"any_": [deployment.id]}}
                ),
                flow_run_filter=FlowRunFilter.model_validate(
                    {"state": {"type": {"any_": [each.value for each in _AHEAD]}}}
                ),
            )
            if ahead:
                return False
            run = client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"min_feedback": self.enough},
                tags=["feedback"],
                # Rows that a published round has not taken are asked for again.
                idempotency_key=f"feedback-{self._key}-{self._tag}-{watermark}",
            )
        self._log.info("%d new rows of feedback: flow run %s starts a round", new, run.name)
        return True

    def _again(self, work: Callable[[], object], every: float) -> None:
        said = ""
        while True:
            try:
                work()
                said = ""
            # Anything at all: a server that is away now is there again later.
            except Exception as error:
                if repr(error) != said:
                    self._log.warning("%s: %s; tried again", type(error).__name__, error)
                said = repr(error)
            time.sleep(every)
