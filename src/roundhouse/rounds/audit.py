"""Where a model came from, and what changed between two rounds: published bytes and ledger."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from roundhouse.errors import DataError, RoundhouseError, UsageError
from roundhouse.feedback import rater_key, rater_keys
from roundhouse.ledger import Decision, Ledger, Override, Round
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import erased, usage
from roundhouse.rounds.git import git, round_tags, show
from roundhouse.rounds.shelf import Shelf

#: Figures of the stage validate: rows that a check excluded.
_EXCLUDED = "validate/excluded/"


def audit_round(places: Locations, ledger: Ledger, number: int) -> dict[str, Any]:
    """Everything that a round's result depends on, and what it decided."""
    return _round(Shelf(places), ledger, published_tag(places, number), number)


def audit_model(places: Locations, ledger: Ledger, version: str) -> dict[str, Any]:
    """The round behind a registered version, and everything that round depends on.

    Besides the keys of `audit_round`: `trained`, what each use was made of; `history`, every
    decision on this version; `champion`, whether it is the released one.

    Args:
        places: the checkout's.
        ledger: its ledger.
        version: such as `3`, or `roundhouse/3`: names of models have numbers of their own.

    Raises:
        UsageError: no round, or several, published such a version.
    """
    shelf, champion = Shelf(places), ledger.champion()
    number = _published_as(shelf, ledger, version)
    return {
        "version": version.rpartition("/")[2],
        "champion": champion is not None and champion.round == number,
        **_round(shelf, ledger, published_tag(places, number), number),
        "trained": _trained(shelf, tag_name(number)),
        "history": list(_history(ledger, number)),
    }


def _published_as(shelf: Shelf, ledger: Ledger, wanted: str) -> int:
    """The round that published a version, given with or without its model's name."""
    name, _, version = wanted.rpartition("/")
    numbers = sorted({one.model_round for one in ledger.decisions() if one.version == version})
    names: dict[int, str] = {}
    if name or len(numbers) > 1:
        names = {n: shelf.settings(tag_name(n))["publish"]["model_name"] for n in numbers}
        numbers = [n for n in numbers if name in ("", names[n])]
    if not numbers:
        raise UsageError(f"no round published version {wanted}: see `roundhouse rounds`")
    if len(numbers) > 1:
        found = ", ".join(f"{names[n]}/{version} (round {n})" for n in numbers)
        raise UsageError(
            f"version {wanted} is that of {found}: give the name with it, or see "
            "`roundhouse audit round N`"
        )
    return numbers[0]


def trained_rows(places: Locations, number: int) -> Iterator[dict[str, Any]]:
    """Every feedback row that trained a round's model, once for every demonstration and pair.

    Keys: row (its id), stage (`sft` or `reward`), weight (of the demonstration or the pair), and of
    pairs p (probability that the pair's answer a is better) and votes (behind it).
    """
    for use in usage.uses(Shelf(places), tag_name(number)):
        if use.how in usage.TRAINS:
            pair = {} if use.p is None else {"p": use.p, "votes": use.votes}
            for row in use.rows:
                yield {"row": row, "stage": use.how, "weight": use.weight, **pair}


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
    """What changed between two rounds: rows, raters, weights, settings, code, figures."""
    shelf = Shelf(places)
    old, new = (_round(shelf, ledger, published_tag(places, n), n) for n in (before, after))
    gone = {n: p["rows"] for n, p in old["partitions"].items() if n not in new["partitions"]}
    added = {n: p["rows"] for n, p in new["partitions"].items() if n not in old["partitions"]}
    altered = [
        name
        for name, part in new["partitions"].items()
        if name in old["partitions"] and part != old["partitions"][name]
    ]
    after_parts = shelf.inputs(tag_name(after)).partitions
    weights = _changes(_weights(old), _weights(new), tolerance=0.005)
    return {
        "from": before,
        "to": after,
        "partitions_added": added,
        "partitions_gone": gone,
        "partitions_altered": altered,
        "rows_added": sum(added.values()),
        "rows_added_erased": erased.lost(
            ledger, {name: part for name, part in after_parts.items() if name in added}
        ),
        **_composition(shelf, tag_name(after), list(added)),
        "raters_new": sorted(set(_weights(new)) - set(_weights(old))),
        "raters_gone": sorted(set(_weights(old)) - set(_weights(new))),
        "weights_moved": {k: v for k, v in weights.items() if None not in v},
        "settings_changed": _changes(_flat(old["settings"]), _flat(new["settings"])),
        "figures_changed": _changes(old["metrics"], new["metrics"]),
        "code": [old["code"], new["code"]],
        "commits": _commits(places, old["code"], new["code"]),
        "edited_code": [old["edited_code"], new["edited_code"]],
        "decision": [old["decision"], new["decision"]],
    }


def published_tag(places: Locations, number: int) -> str:
    """The tag of a published round, or a UsageError that says where to look."""
    if number not in round_tags(places.root):
        raise UsageError(f"round {number} is not published: see `roundhouse rounds`")
    return tag_name(number)


def raters(shelf: Shelf, tag: str) -> list[dict[str, Any]]:
    """The raters of a round: key, accuracy, weight, state, evidence."""
    try:
        found: list[dict[str, Any]] = shelf.json(tag, "out/raters/raters.json")
    except DataError:
        raise RoundhouseError(
            f"the raters of {tag} cannot be read: run `roundhouse audit verify`"
        ) from None
    keys = rater_keys((one["rater"] for one in found), shelf.settings(tag)["split"]["salt"])
    return [{"rater": one["rater"], "key": keys[one["rater"]], **one} for one in found]


def named(shelf: Shelf, tag: str, given: str) -> str:
    """The rater of a round who bears this name, or else this key; any other name as it is."""
    found = raters(shelf, tag)
    keyed = [one["rater"] for one in found if one["key"] == given]
    return keyed[0] if keyed and all(one["rater"] != given for one in found) else given


def story(shelf: Shelf, tag: str) -> dict[str, Any]:
    """What the raters stage tells of a round (`raters/story.py`).

    Raises:
        RoundhouseError: the round was published before there were stories, or cannot be read.
    """
    try:
        found: dict[str, Any] = shelf.json(tag, "out/raters/story.json")
    except DataError:
        raise RoundhouseError(
            f"{tag} has no page on its raters: an earlier version made it, or its files are gone "
            "(`roundhouse audit verify`)"
        ) from None
    return found


def _round(shelf: Shelf, ledger: Ledger, tag: str, number: int) -> dict[str, Any]:
    inputs, decision, row = shelf.inputs(tag), shelf.decision(tag), ledger.round(number)
    root = shelf.places.root
    parents = git("rev-parse", f"{tag}^{{commit}}^@", cwd=root).split()
    return {
        "round": number,
        **result(decision, row),
        "commit": git("rev-parse", f"{tag}^{{commit}}", cwd=root),
        "code": parents[0],
        "edited_code": show(root, tag, "dirty.patch") is not None,
        "previous": inputs.previous,
        "champion_before": inputs.champion.model_dump() if inputs.champion else None,
        "data_version": row.data_version if row else None,
        "partitions": {name: part.model_dump() for name, part in inputs.partitions.items()},
        "rows": _row_counts(shelf, tag) | {"erased": erased.lost(ledger, inputs.partitions)},
        "validation": _validation(shelf, tag),
        "raters": raters(shelf, tag),
        "base": inputs.base,
        "seed": inputs.seed,
        "model_sha256": decision.get("bound", {}).get("model"),
        "accepted": [f"{one.subject}: {one.why}" for one in ledger.overrides(number)],
        "overrides": overrides(ledger, number, inputs.rater_states, shelf.settings(tag)),
        "metrics": row.metrics if row else {},
        "settings": shelf.settings(tag),
    }


def _row_counts(shelf: Shelf, tag: str) -> dict[str, Any]:
    """accepted = used + excluded, the excluded by the check that excluded them.

    As the round counted them: rows that were erased since are in all three.
    """
    accepted = sum(part.rows for part in shelf.inputs(tag).partitions.values())
    figures: dict[str, float] = shelf.json(tag, "out/validate/figures.json")
    excluded = {
        name.removeprefix(_EXCLUDED): int(count)
        for name, count in sorted(figures.items())
        if name.startswith(_EXCLUDED)
    }
    return {"accepted": accepted, "used": accepted - sum(excluded.values()), "excluded": excluded}


def _validation(shelf: Shelf, tag: str) -> dict[str, Any]:
    """What Great Expectations found: expectations, those that failed, what blocked."""
    report = shelf.json(tag, "out/validate/report.json")
    expectations = report["expectations"]
    return {
        "success": report["success"],
        "blocked": report["blocked"],
        "expectations": len(expectations),
        "failed": [one for one in expectations if not one["success"]],
    }


def overrides(
    ledger: Ledger, number: int, states: dict[str, dict[str, str]], settings: dict[str, Any]
) -> list[dict[str, str]]:
    """People's words that held in a round: on checks for it alone, on raters as it froze them.

    Who and why stand in the ledger only; inputs.json names the time of each word on a rater.
    """
    salt = settings["split"]["salt"]
    words = [one for one in ledger.overrides(kind="rater") if _holds(one, states, salt)]
    told = [*ledger.overrides(number, kind="check"), *words]
    keys = ("kind", "subject", "state", "who", "why", "at")
    return [{key: getattr(one, key) for key in keys} for one in told]


def _holds(one: Override, states: dict[str, dict[str, str]], salt: str) -> bool:
    frozen = states.get(rater_key(one.subject, salt))
    return frozen is not None and frozen["state"] == one.state and one.at in frozen["why"]


def _trained(shelf: Shelf, tag: str) -> dict[str, dict[str, Any]]:
    """Use to what it was made of: things (demonstrations, pairs, answers), rows, sum of weights."""
    things: Counter[str] = Counter()
    weight: dict[str, float] = defaultdict(float)
    rows: dict[str, set[str]] = {}
    for use in usage.uses(shelf, tag):
        if use.how not in ("excluded", "unused"):
            things[use.how] += 1
            weight[use.how] += use.weight or 0.0
            rows.setdefault(use.how, set()).update(use.rows)
    return {
        how: {"things": things[how], "rows": len(rows[how]), "weight": round(weight[how], 6)}
        for how in sorted(things)
    }


def _history(ledger: Ledger, number: int) -> Iterator[dict[str, Any]]:
    """The decisions on a round's model, and those while it was the champion."""
    before: int | None = None
    for one in ledger.decisions():
        after = before if one.action == "hold" else one.model_round
        if number in (one.model_round, before, after):
            yield _told(one)
        before = after


def _told(one: Decision) -> dict[str, Any]:
    keys = ("action", "round", "version", "champion_before", "champion_after", "who", "why", "at")
    return {key: getattr(one, key) for key in keys}


def _composition(shelf: Shelf, tag: str, partitions: Iterable[str]) -> dict[str, dict[str, int]]:
    """Rows of these partitions by kind, region and domain; a row without one counts as `none`."""
    counts: dict[str, Counter[str]] = {key: Counter() for key in ("kind", "region", "domain")}
    for name in partitions:
        for row in shelf.rows(tag, f"data/feedback/{name}"):
            for key, count in counts.items():
                count[row.get(key, "none")] += 1
    return {f"rows_added_by_{key}": dict(sorted(count.items())) for key, count in counts.items()}


def _commits(places: Locations, old: str, new: str) -> list[str]:
    """The commits of code that came between two rounds, newest first: hash and title."""
    return git("log", "--format=%h %s", f"{old}..{new}", cwd=places.root).splitlines()


def _weights(audit: dict[str, Any]) -> dict[str, float]:
    return {rater["rater"]: rater["weight"] for rater in audit["raters"]}


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
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
