"""A round's record: plain data, made from its files, for the terminal, the ledger and `--json`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from roundhouse import jsonl
from roundhouse.ledger import Counts
from roundhouse.locations import tag_number
from roundhouse.rounds import inputs as inputs_module
from roundhouse.rounds.begin import Round
from roundhouse.rounds.git import run
from roundhouse.rounds.stages import STAGES
from roundhouse.rounds.workspace import DATA_POINTER
from roundhouse.simulate import outcome

ANSWERS = Path("out") / "evaluate" / "answers.jsonl"
UNUSED = Path("out") / "raters" / "unused.jsonl"


def make(
    this: Round, decision: str, why: Sequence[str], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """The record of a finished round.

    Keys: round, decision, reasons, data_version, commit, metrics, seconds, workspace, rules,
    warnings, raters (those in another state than ok), unused (reason to rows without use), and what
    the round was made of.
    """
    frozen = inputs_module.read(this.workspace)
    rules = this.workspace / "decision.json"
    return {
        "round": this.number,
        "decision": decision,
        "reasons": list(why),
        "data_version": data_version(this.workspace),
        "commit": tag_commit(this),
        "metrics": figures(this.workspace) | _simulation(this),
        "seconds": dict(seconds),
        "workspace": str(this.workspace),
        "previous": this.previous,
        "partitions": {k: v.rows for k, v in frozen.partitions.items()} if frozen else {},
        "rules": jsonl.read_json(rules)["reasons"] if rules.exists() else [],
        "warnings": warnings(this.workspace),
        "raters": raters(this.workspace),
        "unused": reasons(this.workspace / UNUSED, "reason"),
        **received(this),
    }


def received(this: Round) -> dict[str, dict[str, int]]:
    """What had come to the ledger at the round's snapshot, and how much since the previous one's.

    Nothing is said of the difference in the first round, and where one of the two was frozen by a
    version that did not count.
    """
    row = this.ledger.round(this.number)
    before = this.ledger.round(tag_number(this.previous)) if this.previous else None
    total, last = (one.counts if one else None for one in (row, before))
    since: dict[str, int] = {}
    if total and last:
        since = {name: getattr(total, name) - getattr(last, name) for name in Counts._fields}
    return {"feedback": (total or this.ledger.counts())._asdict(), "feedback_since": since}


def warnings(workspace: Path) -> list[str]:
    """What a person should look at, though it stops nothing."""
    path = workspace / "out" / "raters" / "verdict.json"
    pool = jsonl.read_json(path) if path.exists() else {"state": "ok"}
    found = [f"{pool['check']}: {pool['message']}"] if pool["state"] == "warn" else []
    found += [f"raters: {one}" for one in pool.get("warnings", [])]
    return found + alarms(figures(workspace))


def raters(workspace: Path) -> list[dict[str, Any]]:
    """Key, state and since when of those in another state than ok, the gravest first."""
    path = workspace / "out" / "raters" / "story.json"
    told = jsonl.read_json(path)["raters"] if path.exists() else []
    keys = ("rater", "state", "since")
    return [{key: one[key] for key in keys} for one in told if one["state"] != "ok"]


def reasons(path: Path, key: str) -> dict[str, int]:
    """How often each reason stands in a file of rows that were left out; none before it is made."""
    return dict(Counter(row[key] for row in jsonl.read(path))) if path.exists() else {}


def alarms(figures: Mapping[str, float]) -> list[str]:
    """A line for each alarm that steps of PPO raised."""
    prefix = "ppo/alarms/"
    return [
        f"ppo-alarm: {name.removeprefix(prefix)} in {int(steps)} steps; in MLflow see {name}"
        for name, steps in figures.items()
        if name.startswith(prefix) and steps
    ]


def figures(workspace: Path) -> dict[str, float]:
    """The figures of all stages, metric name to number, without the simulation's truth."""
    found: dict[str, float] = {}
    for stage in STAGES:
        path = workspace / "out" / stage / "figures.json"
        if path.exists():
            found |= jsonl.read_json(path)
    return found


def _simulation(this: Round) -> dict[str, float]:
    """What only the simulation knows; made after the decision, for people to read."""
    if not this.settings.simulate.enabled or not (this.workspace / ANSWERS).exists():
        return {}
    return outcome.figures(this.workspace, this.settings.seed)


def data_version(workspace: Path) -> str:
    """DVC's hash of data/feedback, as its pointer file gives it; empty before the snapshot."""
    pointer = workspace / DATA_POINTER
    if not pointer.exists():
        return ""
    return str(yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]["md5"])


def tag_commit(this: Round) -> str:
    """The commit that the round's tag points at; empty for a round without a tag."""
    done = run(["rev-parse", "--verify", "-q", f"{this.tag}^{{commit}}"], cwd=this.places.root)
    return done.stdout.strip()
