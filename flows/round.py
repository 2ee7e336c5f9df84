"""A round of RLHF, from the raters' feedback to a released, or held, model.

Schedule: `roundhouse up --cron`, or by hand with `roundhouse round`; a killed round goes on with
`roundhouse resume N`. It leaves behind one git tag `round-NNNN`, one partition of data/feedback in
DVC, one MLflow run with a child for every stage, one model version, and one row in the ledger.
"""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.step import call_run, end_lost, enter, leave_link, leave_table, step
from roundhouse.errors import Blocked, BusyError
from roundhouse.rounds.begin import Request, Skipped, open_round, skip_busy
from roundhouse.rounds.chronicle import Chronicle
from roundhouse.rounds.clean import after_round
from roundhouse.rounds.collect import collect
from roundhouse.rounds.decide import decide
from roundhouse.rounds.snapshot import take_snapshot
from roundhouse.rounds.stages import STAGES


@flow(name="rlhf-round", persist_result=False)
def rlhf_round(
    root: str = ".",
    params: str = "params.yaml",
    overrides: list[str] | None = None,
    allow_dirty: bool = False,
    accept: dict[str, str] | None = None,
    resume: int | None = None,
    min_feedback: int | None = None,
    finish: bool = False,
) -> State[dict[str, Any]]:
    """Runs one round and names its result: Promoted, Held, Blocked or Skipped.

    Args:
        root: the checkout.
        params: settings file in it.
        overrides: `section.key=value`, for this round alone.
        allow_dirty: carry edited tracked code into the round and record it.
        accept: checks that a person accepts, each with the reason.
        resume: number of a round to finish.
        min_feedback: skip below this many new rows; None takes the setting.
        finish: finish the round that was left unfinished, if there is one, instead.
    """
    request = Request(
        root=Path(root).resolve(),
        params=Path(params),
        overrides=tuple(overrides or ()),
        allow_dirty=allow_dirty,
        accept=tuple((accept or {}).items()),
        resume=resume,
        min_feedback=min_feedback,
        finish=finish,
    )
    page, mlflow = enter(request.root), None
    try:
        with open_round(request) as this, Chronicle(this, page=page) as chronicle:
            call_run(this.tag, this.ledger.identity())
            try:
                step("collect", chronicle.timed(collect), this)
                step("snapshot", chronicle.timed(take_snapshot), this)
                leave_link(this.number, chronicle.page)
                for stage in STAGES:
                    step(stage, chronicle.run_stage, stage)
                decision = step("decide", chronicle.timed(decide), this)
                published = step("publish", chronicle.publish, decision)
                record = chronicle.close(published.outcome, published.reasons)
            except Blocked as block:
                record = chronicle.close("blocked", (f"{block.check}: {block}",))
            step("clean", after_round, this)
            end_lost(this.ledger.identity())
            mlflow = chronicle.page
    except BusyError as busy:
        record = {"decision": "skipped", "reasons": [skip_busy(request, busy)]}
    except Skipped as skip:
        record = {"decision": "skipped", "reasons": [str(skip)]}
    leave_table(record, mlflow)
    result: State[dict[str, Any]] = Completed(
        name=record["decision"].capitalize(), message="; ".join(record["reasons"]), data=record
    )
    return result
