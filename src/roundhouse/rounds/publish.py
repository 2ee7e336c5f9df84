"""Publishing, in an order in which no name ever points at missing data.

    1. dvc push        the bytes
    2. commit and tag  what names the bytes
    3. registry        a model version that names the tag
    4. decision row    the champion, by one conditional update in the ledger, after the model that
                       the remote gives out has loaded and answered in a fresh process
    5. tag and alias   MLflow's picture of the decision and of the champion

Each step finds out whether it was done already, so a publish that was killed is simply run again.
"""

import json
from contextlib import suppress
from typing import NamedTuple

from roundhouse import failpoints
from roundhouse.errors import ChampionChangedError, DataError, RoundhouseError, TrackingError
from roundhouse.gate import Decision
from roundhouse.report.card import shortened
from roundhouse.rounds import inputs as inputs_module
from roundhouse.rounds import record, transfer, workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.committed import committed
from roundhouse.rounds.decide import MODEL
from roundhouse.rounds.release import answers_as_published, show_champion, show_decisions
from roundhouse.tracking import Tracker

CHAMPION_CHANGED = "champion-changed"
#: The published bytes did not load and answer.
UNUSABLE = "published-model"
#: Longest description of a version that MLflow keeps, in characters.
DESCRIPTION = 5000


class Published(NamedTuple):
    """What became of a round in the end.

    Attributes:
        version: in the model registry.
        outcome: `promoted` or `held`, as the ledger's decision row says.
        reasons: rules that stood in the way; `champion-changed` where another model was released
            while this one was measured.
    """

    version: str
    outcome: str
    reasons: tuple[str, ...]


def publish(this: Round, decision: Decision, tracker: Tracker, run_id: str | None) -> Published:
    """Publishes a promoted or held round.

    Raises:
        DataError: the round's tag names other bytes than the clone holds now.
        TrackingError: the registry is away; the bytes and the tag are safe, `resume` does the rest.
    """
    decision = _tagged(this, decision) or decision
    failpoints.hit("publish.begin")
    # A process that was taken for dead stops here, before anyone else can see what it made.
    this.ledger.require_owner()
    _push(this)
    failpoints.hit("publish.pushed")
    if not record.tag_commit(this):
        message = f"Round {this.number}: {decision.outcome}"
        workspace.commit(this.workspace, this.number, this.previous, message)
    workspace.publish_tag(
        this.workspace, this.places, this.number, this.settings.publish.git_remote
    )
    failpoints.hit("publish.tagged")
    this.ledger.require_owner()
    version = _register(this, decision, tracker, run_id)
    failpoints.hit("publish.registered")
    published = _settle(this, decision, version)
    failpoints.hit("publish.settled")
    with suppress(TrackingError):
        # The next round and `up` put the picture right; the decision is made.
        show_decisions(this.ledger, tracker)
        show_champion(this.places, this.ledger, tracker)
    return published


def _push(this: Round) -> None:
    try:
        transfer.push(this.places, this.workspace)
    except RoundhouseError as error:
        raise RoundhouseError(
            f"{error}; round {this.number} is not published: "
            f"bring the remote back, then run `roundhouse resume {this.number}`"
        ) from None


def _tagged(this: Round, decision: Decision) -> Decision | None:
    """The decision that the round's tag made public, if any; a repeat must be bound to it."""
    tagged = committed(this.places.root, this.tag, workspace.DECISION_FILE, _parsed)
    if tagged is None:
        return None
    if tagged.bound != decision.bound:
        raise DataError(
            f"{this.tag} was published with other bytes than {this.workspace} holds now: "
            "start a new round"
        )
    return tagged


def _parsed(text: str) -> Decision:
    return Decision.from_record(json.loads(text))


def _register(this: Round, decision: Decision, tracker: Tracker, run_id: str | None) -> str:
    if run_id is None:
        raise TrackingError(f"MLflow at {tracker.where} is away")
    tags = {
        "tag": this.tag,
        "commit": record.tag_commit(this),
        "data_version": record.data_version(this.workspace),
        "sha256": str(decision.bound["model"]),
    }
    name = this.settings.publish.model_name
    card = this.workspace / workspace.CARD_FILE
    text = card.read_text(encoding="utf-8") if card.exists() else ""
    return tracker.register(
        run_id, this.workspace / MODEL, name, tags, shortened(text, DESCRIPTION)
    )


def _settle(this: Round, decision: Decision, version: str) -> Published:
    """Writes the decision row; a release whose champion changed meanwhile is held instead."""
    made = next((row for row in this.ledger.decisions() if row.round == this.number), None)
    if made:
        promoted = made.action == "promote"
        return _published(version, promoted, () if promoted else tuple(made.why.split("; ")))
    frozen, now = inputs_module.read(this.workspace), this.ledger.champion()
    expected = frozen.champion.decision if frozen and frozen.champion else None
    promote, reasons = decision.outcome == "promoted", decision.failed
    current = expected == (now.decision if now else None)
    if promote and current and not _answers(this, decision):
        promote, reasons = False, (*reasons, UNUSABLE)
    try:
        _write_row(this, decision, version, promote, reasons, expected)
    except ChampionChangedError:
        promote, reasons = False, (*reasons, CHAMPION_CHANGED)
        _write_row(this, decision, version, promote, reasons, expected)
    return _published(version, promote, reasons)


def _published(version: str, promoted: bool, reasons: tuple[str, ...]) -> Published:
    return Published(version, "promoted" if promoted else "held", reasons)


def _answers(this: Round, decision: Decision) -> bool:
    """Whether what the remote gives out, and nothing else, loads in a fresh process and answers."""
    sha256, probe = str(decision.bound["model"]), this.settings.probes[0]
    try:
        return answers_as_published(this.places, this.number, sha256, probe).passed
    except DataError:
        return False


def _write_row(
    this: Round,
    decision: Decision,
    version: str,
    promote: bool,
    reasons: tuple[str, ...],
    expected: int | None,
) -> None:
    this.ledger.settle(
        round=this.number,
        promote=promote,
        version=version,
        sha256=str(decision.bound["model"]),
        expected=expected,
        why="; ".join(reasons) or "every rule passed",
    )
