"""Opening a round: its number, its clone, its champion; or finding again one that was killed."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from roundhouse import acceptance, failpoints, model_folder, params
from roundhouse.errors import (
    BusyError,
    CheckoutError,
    OvertakenError,
    RoundhouseError,
    SettingsError,
    UsageError,
)
from roundhouse.ledger import Ledger
from roundhouse.ledger import Round as Row
from roundhouse.locations import Locations, tag_name, tag_number
from roundhouse.processes import ROUND_MARK
from roundhouse.rounds import inputs as inputs_module
from roundhouse.rounds import stages, tagged, workspace
from roundhouse.rounds.committed import committed, parsed
from roundhouse.rounds.dvc import forget_dead_locks
from roundhouse.rounds.git import (
    fetch_rounds,
    forget_dead_git,
    forget_dead_tags,
    head,
    round_tags,
    show,
)
from roundhouse.rounds.inputs import Inputs
from roundhouse.rounds.lock import owned, who
from roundhouse.settings import ModelSettings, Settings


@dataclass(frozen=True)
class Request:
    """What a person or the schedule asks for.

    Attributes:
        root: the checkout.
        params: settings file, taken from the checkout's top folder where it is relative.
        overrides: `section.key=value` settings for this round alone.
        allow_dirty: carry edits of tracked code into the round and record them.
        accept: checks that a person accepts, with the reason: (check, why).
        resume: finish this round instead of starting one.
        min_feedback: skip the round below this many new rows; None takes the setting.
        finish: finish a round that was left unfinished, if there is one, instead of starting one.
    """

    root: Path
    params: Path = Path("params.yaml")
    overrides: tuple[str, ...] = ()
    allow_dirty: bool = False
    accept: tuple[tuple[str, str], ...] = ()
    resume: int | None = None
    min_feedback: int | None = None
    finish: bool = False


class Skipped(Exception):
    """There is no round to run; the message is the recorded reason. Not an error."""


@dataclass(frozen=True)
class Round:
    """An open round.

    Attributes:
        number: its number.
        places: the checkout's places.
        workspace: its own clone.
        settings: its frozen settings.
        ledger: the open ledger.
        previous: tag of the round before it, None for the first.
        accept: checks accepted by a person, with reasons.
    """

    number: int
    places: Locations
    workspace: Path
    settings: Settings
    ledger: Ledger
    previous: str | None
    accept: tuple[tuple[str, str], ...]

    @property
    def tag(self) -> str:
        """The git tag it gets when it is published."""
        return tag_name(self.number)

    @property
    def previous_inputs(self) -> Inputs | None:
        """The inputs of the round before it, as they were committed."""
        return read_inputs(self.places.root, self.previous) if self.previous else None


@contextmanager
def open_round(request: Request) -> Iterator[Round]:
    """Opens a new round, or the one to resume, and holds the round lock while the block runs.

    Raises:
        BusyError: a round is running.
        CheckoutError: tracked code was edited.
        Skipped: there is too little new feedback, or nothing to resume.
    """
    places = Locations(request.root)
    purpose = f"roundhouse resume {request.resume}" if request.resume else "roundhouse round"
    mark = os.environ.setdefault(ROUND_MARK, uuid.uuid4().hex)
    with (
        owned(places.state / "round.lock", purpose, mark),
        Ledger.open(places.ledger_url, expected=has_history(places)) as ledger,
        ledger.owned(who(purpose)),
    ):
        forget_dead_tags(places.root)
        number = request.resume or (_unfinished(places, ledger) if request.finish else None)
        yield _resumed(number, places, ledger) if number else _new(request, places, ledger)


def skip_busy(request: Request, busy: BusyError) -> str:
    """Records that the schedule found a round at work; anyone else is refused with the error."""
    if not request.finish or isinstance(busy, OvertakenError):
        raise busy
    places = Locations(request.root)
    with Ledger.open(places.ledger_url, expected=has_history(places)) as ledger:
        ledger.add_skip(str(busy))
    return str(busy)


def read_inputs(root: Path, tag: str) -> Inputs:
    """The inputs that a published round committed."""
    found = committed(root, tag, inputs_module.FILE, Inputs.model_validate_json)
    if found is None:
        raise RoundhouseError(f"{tag} has no {inputs_module.FILE}: fetch the tag again")
    return found


def read_settings(root: Path, tag: str) -> Settings:
    """The settings that a published round committed."""
    text = show(root, tag, workspace.SETTINGS_FILE)
    if text is None:
        raise RoundhouseError(f"{tag} has no {workspace.SETTINGS_FILE}: fetch the tag again")
    return _older(root, text, f"{tag}: {workspace.SETTINGS_FILE}")


def _older(root: Path, text: str, where: str) -> Settings:
    """Settings that a round was made with, perhaps by another version than today's."""
    today = params.load_raw(root / workspace.SETTINGS_FILE)
    return params.of_older(parsed(text, where, _raw), today, where)


def _raw(text: str) -> dict[str, Any]:
    return TypeAdapter(dict[str, Any]).validate_python(yaml.safe_load(text))


def last_tag(root: Path) -> str | None:
    """The last published round."""
    numbers = round_tags(root)
    return tag_name(numbers[-1]) if numbers else None


def new_rows(places: Locations, ledger: Ledger) -> int:
    """Rows that came since the last published round took its own, without those erased since."""
    previous = last_tag(places.root)
    return ledger.held(read_inputs(places.root, previous).watermark if previous else 0)


def meet_others(root: Path, settings: Settings, code: str | None = None) -> None:
    """Fetches what rounds on other machines published, where the settings name a git remote.

    Args:
        root: the checkout.
        settings: `publish.git_remote` is read.
        code: a commit that must be here too: the code of a round that another machine began.

    Raises:
        DataError: a tag there names another commit than here.
        RemoteError: the remote is away, or does not have the code.
    """
    if settings.publish.git_remote:
        fetch_rounds(root, settings.publish.git_remote, code)


def has_history(places: Locations) -> bool:
    """Whether tags or earlier clones show that there must be a ledger."""
    return bool(round_tags(places.root)) or any(places.rounds.glob("[0-9]*"))


def _new(request: Request, places: Locations, ledger: Ledger) -> Round:
    acceptance.require(check for check, _ in request.accept)
    source = places.root / request.params
    raw = params.load_raw(source, request.overrides)
    settings = params.check(raw, where=source.name)
    if not request.allow_dirty:
        workspace.refuse_edited_code(places.root)
    _check_base(places.root, settings.model)
    meet_others(places.root, settings)
    previous = last_tag(places.root)
    _require_known_past(places.root, ledger, previous)
    _refuse_moved_sides(places.root, settings, previous)
    _enough_feedback(request, settings, places, ledger, previous)
    _require_demonstrations(settings, ledger)
    text = workspace.settings_text(source, raw, changed=bool(request.overrides))
    code = head(places.root)
    plan = workspace.Plan(code, previous, text, request.allow_dirty, request.accept)
    tags = round_tags(places.root)
    number = ledger.take_round_number(at_least=max(tags, default=0) + 1, note=asdict(plan))
    failpoints.hit("begin.numbered")
    ledger.try_round(number)
    return _opened(places, ledger, number, plan)


def _opened(places: Locations, ledger: Ledger, number: int, plan: workspace.Plan) -> Round:
    folder = places.workspace(number)
    if tagged.elsewhere(places, number):
        # A machine that was lost, or overtaken, had gone this far: what it made public stands.
        folder = workspace.create(places, number, plan, partial(tagged.bring, places, number))
    elif not folder.exists():
        folder = workspace.create(places, number, plan)
    failpoints.hit("begin.opened")
    text = (folder / workspace.SETTINGS_FILE).read_text(encoding="utf-8")
    settings = _older(places.root, text, f"{folder.name}/{workspace.SETTINGS_FILE}")
    said = {one.subject for one in ledger.overrides(number, kind="check")}
    for check, why in plan.accept:
        if check not in said:
            ledger.add_override(number, subject=check, state="accepted", why=why)
    accept = tuple((o.subject, o.why) for o in ledger.overrides(number, kind="check"))
    return Round(number, places, folder, settings, ledger, plan.previous, accept)


def _require_known_past(root: Path, ledger: Ledger, previous: str | None) -> None:
    """A published round whose tag is not here would be forgotten, and its rows be used as new."""
    last = max((row.number for row in ledger.rounds() if row.commit), default=0)
    if last > (tag_number(previous) if previous else 0):
        raise CheckoutError(
            f"round {last} is published, but {root} has no tag {tag_name(last)}: set "
            "publish.git_remote to the git remote that has it, or fetch it from there"
        )


def _refuse_moved_sides(root: Path, settings: Settings, previous: str | None) -> None:
    """A prompt belongs to its side for ever: training on what measured before would be a leak."""
    if previous and read_settings(root, previous).split != settings.split:
        raise SettingsError(
            f"split: differs from {previous}'s, so that prompts would change sides: put it back"
        )


def _check_base(root: Path, model: ModelSettings) -> None:
    """Refuses a base model before a number is taken."""
    if model.base != model_folder.SCRATCH:
        folder = model_folder.of_checkout(root, model)
        model_folder.check(folder)
        model_folder.check_room(folder, model)
        model_folder.check_finite(folder)


def _enough_feedback(
    request: Request, settings: Settings, places: Locations, ledger: Ledger, previous: str | None
) -> None:
    needed = settings.schedule.min_feedback
    if request.min_feedback is not None:
        needed = request.min_feedback
    new = new_rows(places, ledger)
    if new < needed and not settings.simulate.enabled:
        reason = f"{new} new rows of feedback since {previous or 'the start'}, {needed} wanted"
        ledger.add_skip(reason)
        raise Skipped(reason)


def _require_demonstrations(settings: Settings, ledger: Ledger) -> None:
    """A model from scratch learns to answer from demonstrations alone; votes cannot teach it.

    Whether one is left on the side that trains, once rows were checked, the stage sft finds out.
    """
    if settings.model.base != model_folder.SCRATCH or settings.simulate.enabled:
        return
    if not ledger.holds("demonstration", "correction"):
        raise SettingsError(
            "model.base: scratch, and the ledger has no demonstration or correction to teach it "
            "to answer: ingest some, or name a model that answers already"
        )


def _unfinished(places: Locations, ledger: Ledger) -> int | None:
    """The round that a process left before its end; one that was tried too often is given up.

    One that has its tag already is finished before any other. One that was decided is never given
    up: it waits for a remote, or for MLflow, and another round would throw its training away.
    """
    waiting = [row for row in ledger.rounds() if row.state in ("open", "abandoned")]
    if not waiting:
        return None
    last = waiting[-1]
    settings = _older(places.root, last.note["settings"], f"round {last.number}")
    meet_others(places.root, settings)
    tags = round_tags(places.root)
    half = [row.number for row in waiting if row.number in tags]
    if half:
        return half[0]
    if last.state != "open":
        return None
    folder = places.workspace(last.number)
    later = _after(last, tags)
    decided = (folder / workspace.DECISION_FILE).exists()
    decided = decided or any(one.round == last.number for one in ledger.decisions())
    reason = f"given up after {last.tries} tries: `roundhouse resume {last.number}` tries again"
    if later:
        reason = _overtaken(later[-1])
    elif last.note["allow_dirty"] and not folder.exists():
        reason = "its edited code is not here: `roundhouse resume` where its workspace still lies"
    elif decided or last.tries < settings.schedule.max_tries:
        return last.number
    ledger.finish_round(last.number, state="abandoned", reasons=[reason])
    return None


def give_up_overtaken(this: Round) -> None:
    """Closes rounds that were left open, and whose rows a published round has used."""
    tags = round_tags(this.places.root)
    for row in this.ledger.rounds():
        left = row.state == "open" and row.number not in (this.number, *tags)
        if left and (later := _after(row, tags)):
            reasons = [_overtaken(later[-1])]
            this.ledger.finish_round(row.number, state="abandoned", reasons=reasons)


def _after(row: Row, tags: Sequence[int]) -> list[int]:
    """Published rounds that a round does not start from: they have used its feedback."""
    previous = row.note.get("previous")
    return [tag for tag in tags if tag > (tag_number(previous) if previous else 0)]


def _overtaken(later: int) -> str:
    return f"overtaken by round {later}, which used its feedback"


def _resumed(number: int, places: Locations, ledger: Ledger) -> Round:
    row = ledger.round(number)
    if row is None:
        raise UsageError(f"there is no round {number}: see `roundhouse rounds`")
    if row.state not in ("open", "abandoned"):
        raise Skipped(f"round {number} is finished ({row.decision}): nothing to resume")
    # Counted before anything can fail, or the schedule would try the same round for ever.
    ledger.try_round(number)
    plan = workspace.Plan(**row.note)
    settings = _older(places.root, plan.settings, f"round {number}")
    meet_others(places.root, settings, plan.code)
    tags = round_tags(places.root)
    later = _after(row, tags)
    if later and number not in tags:
        raise UsageError(f"round {number} was {_overtaken(later[-1])}: start a new round instead")
    folder = places.workspace(number)
    if plan.allow_dirty and number not in tags and not folder.exists():
        raise UsageError(
            f"round {number} carries edited code, which is not in {folder}: "
            "resume it where its workspace still lies; if it lies nowhere, start a new round"
        )
    stages.reap(folder)
    forget_dead_locks(folder)
    forget_dead_git(folder)
    return _opened(places, ledger, number, plan)
