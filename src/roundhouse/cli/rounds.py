"""`round`, `resume`, `clean`, `rounds`: running rounds, tidying up, looking back at them."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from roundhouse import acceptance, jsonl, report
from roundhouse.cli.output import add, here, round_number, show, whole_number
from roundhouse.environment import environment, import_path
from roundhouse.errors import LedgerError, NoLedgerError, RoundhouseError, TrackingError, UsageError
from roundhouse.ledger import Ledger, Round
from roundhouse.locations import Locations
from roundhouse.params import load
from roundhouse.processes import ROUND_MARK, end_signals
from roundhouse.rounds import mend, picture
from roundhouse.rounds.begin import has_history
from roundhouse.rounds.clean import clean
from roundhouse.rounds.lock import owned, who

#: Skips that are shown below the rounds.
SHOWN = 3
#: When and why.
Skips = list[tuple[str, str]]

#: As a shell says it.
INTERRUPTED = 130
EXIT_CODES = {"promoted": 0, "held": 0, "skipped": 0, "blocked": 3}


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the commands of this module."""
    command = add(commands, "round", _round, "run one round now")
    command.add_argument("--params", default="params.yaml", help="settings file")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="a setting for this round alone, such as ppo.steps=10",
    )
    command.add_argument("--allow-dirty", action="store_true", help="record edited code and go on")
    command.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="CHECK",
        help="go on though this check of the data fails; needs --why",
    )
    command.add_argument("--why", default="", metavar="TEXT", help="why the check is accepted")
    command.add_argument(
        "--min-feedback", type=whole_number, metavar="N", help="skip below N new rows"
    )
    command = add(commands, "resume", _resume, "finish a round that was killed")
    command.add_argument("number", type=round_number, metavar="N", help="the round's number")
    command = add(commands, "clean", _clean, "remove what can be made again; logs stay")
    command.add_argument(
        "--keep",
        type=whole_number,
        metavar="N",
        help="last rounds that stay whole; default: setting",
    )
    command = add(commands, "rounds", _rounds, "the rounds so far")
    command.add_argument("--skips", action="store_true", help="when and why rounds were skipped")


def _round(options: argparse.Namespace) -> int:
    if options.accept and not options.why.strip():
        raise UsageError("--accept needs --why TEXT: the reason is kept with the round")
    acceptance.require(options.accept)
    # Said here at once; the flow would say it after Prefect has started, and leave a failed run.
    places = here()
    load(places.root / options.params, options.overrides)
    _refuse_busy(places)
    request = {
        "params": options.params,
        "overrides": options.overrides,
        "allow_dirty": options.allow_dirty,
        "accept": dict.fromkeys(options.accept, options.why.strip()),
        "min_feedback": options.min_feedback,
    }
    return _run_flow(options, request)


def _refuse_busy(places: Locations) -> None:
    """Says who is at work, if anybody is on this machine; the flow asks again when it begins."""
    with owned(places.state / "round.lock", "a look at the lock"):
        return


def _resume(options: argparse.Namespace) -> int:
    places = here()
    _refuse_busy(places)
    with Ledger.open(places.ledger_url, create=False) as ledger:
        if ledger.round(options.number) is None:
            raise UsageError(f"there is no round {options.number}: see `roundhouse rounds`")
    return _run_flow(options, {"resume": options.number})


def _clean(options: argparse.Namespace) -> int:
    places = here()
    setting = load(places.root / "params.yaml").storage.keep_rounds
    keep = max(1, setting if options.keep is None else options.keep)
    with (
        owned(places.state / "round.lock", "roundhouse clean"),
        Ledger.open(places.ledger_url, create=False) as ledger,
        ledger.owned(who("roundhouse clean")),
    ):
        done = clean(places, ledger, keep)
    text = (
        f"{done.bytes / 1e6:,.0f} MB given back: {len(done.workspaces)} workspaces, "
        f"{done.objects} cache objects, {done.models} extracted models; "
        f"the last {keep} rounds and the champion's stay"
    )
    show(options, done._asdict(), text)
    return 0


def _run_flow(options: argparse.Namespace, request: dict[str, Any]) -> int:
    """Runs the flow in a process of its own, since the core knows nothing of Prefect."""
    places = here()
    with tempfile.TemporaryDirectory(prefix="roundhouse-") as folder:
        result = Path(folder) / "result.json"
        code = _flow_process(places, request | {"root": str(places.root)}, result)
        if code == INTERRUPTED:
            sys.stderr.write(f"roundhouse: interrupted; {_unfinished(places)}\n")
            return INTERRUPTED
        if not result.exists():
            raise RoundhouseError(
                f"the round's process ended with code {code} before its end; {_unfinished(places)}"
            )
        record = jsonl.read_json(result)
    if "error" in record:
        return _failed(options, record)
    if options.json:
        sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    else:
        report.show(record)
    return EXIT_CODES[record["decision"]]


def _failed(options: argparse.Namespace, record: dict[str, Any]) -> int:
    if options.json:
        sys.stdout.write(json.dumps(record) + "\n")
    sys.stderr.write(f"roundhouse: {record['error']}\n")
    return int(record["exit_code"])


def _flow_process(places: Locations, request: dict[str, Any], result: Path) -> int:
    """Starts the flow; an interrupt is passed on, so that the round can end its own stage."""
    env = dict(os.environ) | environment(places.root)
    # Prefect tells on the terminal what our own lines say better; its UI still gets everything.
    env.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    env["PYTHONPATH"] = import_path(places.root)
    # Prefect's own server starts before the round does: it must carry the mark as well.
    env[ROUND_MARK] = uuid.uuid4().hex
    # Prefect makes its folder, but not the folders above it.
    Path(env["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "flows", json.dumps(request), str(result)]
    return run_apart(command, places.root, env)


def run_apart(command: list[str], folder: Path, env: dict[str, str]) -> int:
    """Runs a command to its end and returns its code; signals reach it through us alone.

    It has a session of its own: a Ctrl-C at the terminal, or the terminal's end, would strike its
    servers too, with which it says how it ended. Whatever asks us to end reaches it as an
    interrupt, by which it ends those servers as well.
    """
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, start_new_session=True
    )

    def pass_on(*_: object) -> None:
        # A shell and the system may both say that the terminal is gone: it is to end in peace.
        for number in end_signals():
            signal.signal(number, signal.SIG_IGN)
        process.send_signal(signal.SIGINT)

    for number in end_signals():
        signal.signal(number, pass_on)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def _unfinished(places: Locations) -> str:
    """How to go on with the round that a process left."""
    try:
        with Ledger.open(places.ledger_url, create=False) as ledger:
            left = [row.number for row in ledger.rounds() if row.state == "open"]
    except LedgerError:
        left = []
    return f"finish it with `roundhouse resume {left[-1]}`" if left else "no round was begun"


def _rounds(options: argparse.Namespace) -> int:
    places = here()
    recorded, skips = _recorded(places)
    if options.skips:
        show(options, [{"at": at, "reason": reason} for at, reason in skips], _skipped(skips))
        return 0
    rows = [
        {
            "round": row.number,
            "decision": row.decision or _going(places, row, recorded),
            "reasons": row.reasons,
            "data_version": row.data_version,
            "metrics": row.metrics,
        }
        for row in recorded
    ]
    text = report.rounds_table(rows)
    if skips:
        text += f"\n\nlast skipped (`roundhouse rounds --skips`)\n{_skipped(skips[-SHOWN:])}"
    show(options, rows, text)
    return 0


def _going(places: Locations, row: Round, recorded: list[Round]) -> str:
    """What a round without a decision is: the last one may be at work on this machine."""
    if row.state == "open" and row is recorded[-1] and mend.at_work(places):
        return "running"
    return "abandoned" if row.state == "abandoned" else "unfinished"


def _skipped(skips: Skips) -> str:
    return "\n".join(f"{at}  {reason}" for at, reason in skips) or "no round was skipped"


def _recorded(places: Locations) -> tuple[list[Round], Skips]:
    """All rounds and skips of the ledger; looking makes none where there is none."""
    try:
        with Ledger.open(places.ledger_url, has_history(places), create=False) as ledger:
            rounds = ledger.rounds()
            _notice_dead(places, ledger, rounds)
            return rounds, ledger.skips()
    except NoLedgerError:
        return [], []


def _notice_dead(places: Locations, ledger: Ledger, rounds: list[Round]) -> None:
    """Marks the MLflow runs of a round that a process left before its end."""
    if any(row.state == "open" for row in rounds) and not mend.at_work(places):
        # MLflow may be away: the next command, or `up`, does it.
        with suppress(TrackingError):
            mend.end_dead(places, picture.open_tracker(places, ledger))
