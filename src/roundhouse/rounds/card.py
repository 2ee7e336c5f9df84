"""The record behind a round's model card, gathered from the files of its clone, and the file."""

from collections import Counter
from pathlib import Path
from typing import Any

from roundhouse import jsonl
from roundhouse.gate import Decision
from roundhouse.report.card import model_card
from roundhouse.rounds import inputs as inputs_module
from roundhouse.rounds.begin import Round
from roundhouse.rounds.git import head
from roundhouse.rounds.record import UNUSED, figures, reasons
from roundhouse.rounds.workspace import CARD_FILE
from roundhouse.storage import writing

#: What `simulate` writes into its rows.
_SIMULATED = "simulated"


def write_card(this: Round, decision: Decision) -> None:
    """Writes model-card.md into the clone, whole or not at all; the same bytes on every call."""
    text = model_card(_record(this, decision))
    path = this.workspace / CARD_FILE
    part = path.with_name(f"{path.name}.part")
    with writing(path, need=len(text)):
        part.write_text(text, encoding="utf-8")
        part.replace(path)


def _record(this: Round, decision: Decision) -> dict[str, Any]:
    frozen = inputs_module.read(this.workspace)
    assert frozen is not None, "a round is decided after its snapshot"
    found = figures(this.workspace)
    composition, simulated = _composition(this.workspace, list(frozen.partitions))
    return {
        "round": this.number,
        "previous": frozen.previous,
        "base": frozen.base,
        "seed": frozen.seed,
        "code": head(this.workspace),
        "simulated": simulated or this.settings.simulate.enabled,
        "decision": decision.record(),
        "figures": found,
        "rows": {
            "accepted": sum(part.rows for part in frozen.partitions.values()),
            "used": int(found.get("raters/used", 0)),
            "excluded": reasons(this.workspace / "out/validate/excluded.jsonl", "check"),
            "unused": reasons(this.workspace / UNUSED, "reason"),
            **composition,
        },
        "raters": _raters(this.workspace / "out/raters/raters.json"),
        "partitions": {name: part.model_dump() for name, part in frozen.partitions.items()},
    }


def _composition(workspace: Path, partitions: list[str]) -> tuple[dict[str, dict[str, int]], bool]:
    """Rows by kind, domain and region, and whether any is the simulated team's."""
    counts: dict[str, Counter[str]] = {key: Counter() for key in ("kind", "domain", "region")}
    simulated = False
    for name in partitions:
        for row in jsonl.read(workspace / "data" / "feedback" / name):
            simulated = simulated or row.get("source") == _SIMULATED
            for key, count in counts.items():
                count[row.get(key, "none")] += 1
    return {key: dict(count) for key, count in counts.items()}, simulated


def _raters(path: Path) -> dict[str, dict[str, int]]:
    raters = jsonl.read_json(path)
    return {
        "region": dict(Counter(one["region"] or "none" for one in raters)),
        "state": dict(Counter(one["state"] for one in raters)),
    }
