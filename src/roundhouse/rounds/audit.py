"""Where a model came from and where a rating went, from published bytes alone."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import yaml

from roundhouse.errors import RoundhouseError, UsageError
from roundhouse.ledger import Ledger, Round
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import objects
from roundhouse.rounds.begin import read_inputs
from roundhouse.rounds.git import git, round_tags, show


def audit_round(places: Locations, ledger: Ledger, number: int) -> dict[str, Any]:
    """Everything that a round's result depends on, and what it decided."""
    tag = _published_tag(places, number)
    inputs = read_inputs(places.root, tag)
    decision = json.loads(show(places.root, tag, "decision.json") or "{}")
    row = ledger.round(number)
    parents = git("rev-parse", f"{tag}^{{commit}}^@", cwd=places.root).split()
    return {
        "round": number,
        **result(decision, row),
        "commit": git("rev-parse", f"{tag}^{{commit}}", cwd=places.root),
        "code": parents[0],
        "edited_code": show(places.root, tag, "dirty.patch") is not None,
        "previous": inputs.previous,
        "champion_before": inputs.champion.model_dump() if inputs.champion else None,
        "data_version": row.data_version if row else None,
        "partitions": {name: part.model_dump() for name, part in inputs.partitions.items()},
        "rows": _row_counts(places, tag),
        "raters": _raters(places, tag),
        "base": inputs.base,
        "seed": inputs.seed,
        "model_sha256": decision.get("bound", {}).get("model"),
        "accepted": [f"{o.subject}: {o.why}" for o in ledger.overrides(number)],
        "metrics": row.metrics if row else {},
        "settings": yaml.safe_load(show(places.root, tag, "params.yaml") or "{}"),
    }


def result(decision: dict[str, Any], row: Round | None) -> dict[str, Any]:
    """What became of a round, and what stood in the way.

    The ledger has the last word: a release whose champion changed meanwhile is held, though the
    decision that was committed says `promoted`.
    """
    failed = [reason for reason in decision.get("reasons", []) if not reason["passed"]]
    known = {reason["rule"] for reason in failed}
    more = [name for name in row.reasons if name not in known] if row else []
    return {
        "decision": row.decision if row and row.decision else decision.get("outcome"),
        "reasons": failed + [{"rule": name, "passed": False, "text": name} for name in more],
    }


def audit_diff(places: Locations, ledger: Ledger, before: int, after: int) -> dict[str, Any]:
    """What changed between two rounds: rows, raters, weights, settings, figures."""
    old, new = audit_round(places, ledger, before), audit_round(places, ledger, after)
    gone = {n: p["rows"] for n, p in old["partitions"].items() if n not in new["partitions"]}
    added = {n: p["rows"] for n, p in new["partitions"].items() if n not in old["partitions"]}
    altered = [
        name
        for name, part in new["partitions"].items()
        if name in old["partitions"] and part != old["partitions"][name]
    ]
    weights = _changes(_weights(old), _weights(new), tolerance=0.005)
    return {
        "from": before,
        "to": after,
        "partitions_added": added,
        "partitions_gone": gone,
        "partitions_altered": altered,
        "rows_added": sum(added.values()),
        "rows_added_by_kind": _kinds(places, tag_name(after), list(added)),
        "raters_new": sorted(set(_weights(new)) - set(_weights(old))),
        "raters_gone": sorted(set(_weights(old)) - set(_weights(new))),
        "weights_moved": {k: v for k, v in weights.items() if None not in v},
        "settings_changed": _changes(_flat(old["settings"]), _flat(new["settings"])),
        "figures_changed": _changes(old["metrics"], new["metrics"]),
        "code": [old["code"], new["code"]],
        "decision": [old["decision"], new["decision"]],
    }


def audit_model(places: Locations, ledger: Ledger, version: str) -> dict[str, Any]:
    """The round behind a registered version, and everything that round depends on."""
    for decision in ledger.decisions():
        if decision.version == version:
            return {"version": version} | audit_round(places, ledger, decision.model_round)
    raise UsageError(f"no round published version {version}: see `roundhouse rounds`")


def audit_rater(places: Locations, ledger: Ledger, rater: str) -> dict[str, Any]:
    """Every round and model that a rater's rows went into, with the rater's weight in each.

    A round uses every partition up to its own, so a rater's rows count in all later rounds too.
    """
    versions = {d.model_round: d.version for d in ledger.decisions()}
    rounds = []
    for number in round_tags(places.root):
        tag = tag_name(number)
        state = next((r for r in _raters(places, tag) if r["rater"] == rater), None)
        rows = sum(row["rater"] == rater for row in _rows(places, tag))
        if rows:
            rounds.append(
                {
                    "round": number,
                    "rows": rows,
                    "version": versions.get(number),
                    "weight": state["weight"] if state else None,
                    "state": state["state"] if state else None,
                }
            )
    if not rounds:
        raise UsageError(f"no published round has a row of rater {rater}")
    return {"rater": rater, "rounds": rounds}


def _published_tag(places: Locations, number: int) -> str:
    if number not in round_tags(places.root):
        raise UsageError(f"round {number} is not published: see `roundhouse rounds`")
    return tag_name(number)


def _json_lines(data: bytes) -> Iterator[dict[str, Any]]:
    for line in io.BytesIO(data):
        yield json.loads(line)


def _rows(places: Locations, tag: str) -> Iterator[dict[str, Any]]:
    for name in read_inputs(places.root, tag).partitions:
        yield from _json_lines(objects.read(places, tag, f"data/feedback/{name}"))


def _kinds(places: Locations, tag: str, partitions: list[str]) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for name in partitions:
        rows = _json_lines(objects.read(places, tag, f"data/feedback/{name}"))
        kinds.update(row["kind"] for row in rows)
    return dict(sorted(kinds.items()))


def _row_counts(places: Locations, tag: str) -> dict[str, Any]:
    """accepted = used + excluded, the excluded by the check that excluded them."""
    inputs = read_inputs(places.root, tag)
    accepted = sum(part.rows for part in inputs.partitions.values())
    excluded = objects.read(places, tag, "out/validate/excluded.jsonl")
    reasons = Counter(row["check"] for row in _json_lines(excluded))
    return {
        "accepted": accepted,
        "used": accepted - sum(reasons.values()),
        "excluded": dict(sorted(reasons.items())),
    }


def _raters(places: Locations, tag: str) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(objects.read(places, tag, "out/raters/raters.json"))
    except RoundhouseError:
        raise RoundhouseError(f"the raters of {tag} cannot be read: run `roundhouse audit verify`") from None
    return found


def _weights(audit: dict[str, Any]) -> dict[str, float]:
    return {rater["rater"]: rater["weight"] for rater in audit["raters"]}


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _changes(
    old: dict[str, Any], new: dict[str, Any], tolerance: float = 0.0
) -> dict[str, tuple[Any, Any]]:
    """Key to (before, after) where they differ; None where one side lacks the key."""
    changed = {}
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        near = isinstance(a, float) and isinstance(b, float) and abs(a - b) <= tolerance
        if a != b and not near:
            changed[key] = (a, b)
    return changed
