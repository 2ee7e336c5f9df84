"""What MLflow is shown of a round's folder, as plain data: names, tables and the note on top."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from roundhouse import jsonl
from roundhouse.metrics import of_a_part

#: Longest note MLflow keeps, in characters.
MAX_NOTE = 8000


class Data(NamedTuple):
    """Which data a stage read, without any of it: what MLflow shows as the run's dataset."""

    name: str
    """Such as `feedback`."""
    digest: str
    """DVC's md5 (of a folder: with `.dir`), at most 36 characters."""
    source: str
    """Where it can be had again, such as `data/feedback @ round-0002`."""
    profile: Mapping[str, int]
    """Counts: rows, partitions."""


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names.

    >>> flatten({"ppo": {"steps": 30, "lr": 0.1}, "probes": ["a"]})
    {'ppo.steps': '30', 'ppo.lr': '0.1', 'probes': '["a"]'}
    """
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            flat[f"{prefix}{name}"] = jsonl.dumps(value)
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def tags(known: Mapping[str, str]) -> dict[str, str]:
    """Plain names as MLflow tags of ours; a commit also names the run's source."""
    own = {f"roundhouse.{name}": value for name, value in known.items()}
    if commit := known.get("commit"):
        own["mlflow.source.git.commit"] = commit
    return own


def metric_name(name: str) -> str:
    """A name MLflow takes: a domain may be called anything.

    >>> metric_name("evaluate/win_rate/domain/law & order")
    'evaluate/win_rate/domain/law _ order'
    """
    parts = [re.sub(r"[^\w\-. :]", "_", part) for part in name.split("/")]
    return "/".join(part if part.strip(". ") else "_" for part in parts)[:250]


def note(
    known: Mapping[str, str],
    decision: str,
    reasons: Sequence[str],
    figures: Mapping[str, float],
    times: Mapping[str, float],
    simulation: Mapping[str, float] | None = None,
) -> str:
    """What MLflow shows on top of a round's run, in Markdown: decision, reasons, figures, times."""
    head = [f"**{decision}**" + (": " + "; ".join(reasons) if reasons else "")]
    made_of = [
        f"{name.replace('_', ' ')}: `{known[f'roundhouse.{name}']}`"
        for name in ("data_version", "commit")
        if f"roundhouse.{name}" in known
    ]
    if page := known.get("roundhouse.prefect"):
        made_of.append(f"[flow run in Prefect]({page})")
    spent = ", ".join(
        f"{name.removeprefix('seconds/')} {value:.0f}" for name, value in times.items()
    )
    truth = ["**SIMULATION**: the truth, which no decision sees", "", *_table(simulation or {})]
    blocks = [
        head,
        [" · ".join(made_of)] if made_of else [],
        _table(figures),
        truth if simulation else [],
        [f"Seconds: {spent}"] if times else [],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)[:MAX_NOTE]


def _table(figures: Mapping[str, float]) -> list[str]:
    """Figures with their intervals, without those of single domains, regions and guidelines."""
    table = ["| figure | value | interval |", "| --- | ---: | --- |"]
    for name, value in figures.items():
        if of_a_part(name) or name.endswith(("_low", "_high")):
            continue
        ends = [figures.get(f"{name}_{end}") for end in ("low", "high")]
        interval = " to ".join(f"{end:.4g}" for end in ends if end is not None)
        table.append(f"| {name} | {value:.4g} | {interval} |")
    return table


def figures(folder: Path, stage: str) -> dict[str, float]:
    """The figures of a finished stage; none where it wrote none."""
    path = folder / "out" / stage / "figures.json"
    found = jsonl.read_json(path) if path.exists() else {}
    return {name: float(value) for name, value in found.items()}


def probe_answers(samples: Path, settings: Path) -> dict[str, Any]:
    """Samples as a table for MLflow; an answer to anything but a probe stays out."""
    probes = yaml.safe_load(settings.read_text(encoding="utf-8"))["probes"]
    rows = [row for row in jsonl.read(samples) if row["prompt"] in probes]
    return {
        "columns": ["prompt", "response"],
        "data": [[row["prompt"], row["response"]] for row in rows],
    }
