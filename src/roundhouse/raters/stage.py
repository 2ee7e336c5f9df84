"""The raters stage: all feedback in, pairs, demonstrations, flags, rater table and figures out."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from roundhouse import jsonl
from roundhouse.errors import Blocked
from roundhouse.feedback import rater_key
from roundhouse.metrics import domain_part
from roundhouse.raters import aggregate, agreement, effect, story
from roundhouse.raters.agreement import Estimate
from roundhouse.raters.alarm import compare, counts, judge_pool
from roundhouse.raters.notes import notes, shielded
from roundhouse.raters.table import (
    CHOSEN,
    TIE,
    Judgement,
    Ratings,
    build,
    judgements,
)
from roundhouse.raters.verdict import RaterVerdict, judge_raters
from roundhouse.settings import RaterSettings, SplitSettings


def run(
    data: Path,
    validated: Path,
    out: Path,
    settings: RaterSettings,
    split: SplitSettings,
    inputs: Mapping[str, Any],
) -> None:
    """Reads the partitions and the exclusions, writes the stage's files.

    Args:
        data: folder of partitions, `0001.jsonl` and on.
        validated: the folder that the validate stage wrote (excluded.jsonl).
        out: gets pairs.jsonl, demonstrations.jsonl, flags.jsonl, unused.jsonl, raters.json,
            story.json, rounds.json, poisoning.json, verdict.json and figures.json.
        inputs: inputs.json; `seed`, and optionally `accepted` (names of checks that a person
            signed) and `rater_states` (`rater_key` to {"state", "why"}, a person's word).

    Raises:
        Blocked: the raters changed, or agree less and it cannot be told why, the setting says that
            this blocks, and nobody accepted it. All files are written before.
    """
    excluded = {line["id"] for line in jsonl.read(validated / "excluded.jsonl")}
    found = judgements(partitions(data), split, excluded)
    ratings = build(found)
    chosen = ratings.votes[ratings.votes["kind"].isin(CHOSEN)]
    regions = _regions(found)
    words = inputs.get("rater_states") or {}
    keys = {rater: rater_key(rater, split.salt) for rater in regions}
    overrides = {rater: words[key] for rater, key in keys.items() if key in words}
    verdicts = judge_raters(chosen, settings, regions, overrides)
    seed = int(inputs["seed"])
    trained = effect.write(out, ratings, verdicts, settings, split, seed)
    pairs, verdicts = trained.pairs, trained.verdicts
    demonstrations = aggregate.demonstrations(found, verdicts)
    flags = aggregate.flags(found)
    panel = aggregate.panel(ratings, split)
    unused = _unused(found, ratings, verdicts, split, [*pairs, *demonstrations, *flags])
    compared = ratings.votes[ratings.votes["kind"] == "comparison"]
    since = compare(compared, settings, seed)
    told = notes(chosen, regions, settings, seed)
    warned = [*told.warned, *shielded(verdicts, split.salt)]
    pool = judge_pool(since, settings, inputs.get("accepted") or ())
    pool = pool._replace(notes=[*pool.notes, *told.said], warnings=warned)
    seen = story.tell(chosen, verdicts, pool, since.alpha, settings, seed, split.salt)
    figures = _agreement_figures(compared, settings, seed)
    figures |= _named("raters/alpha_change", since.alpha)
    figures |= _named("raters/pool_change", since.pool.flipped)
    figures |= told.figures | trained.figures | seen.figures | _counts(chosen, verdicts, pairs)
    figures |= {
        "raters/demonstrations": len(demonstrations),
        "raters/flags": len(flags),
        "raters/used": len(found) - len(unused),
        "raters/unused": len(unused),
        # 0: the judge and the reward model learn from the same raters.
        "raters/panel": len(panel),
        # Of a panel that there is; where there is none, that alone says it all.
        "raters/judge_overlap": len(aggregate.in_both(pairs, found)) if panel else 0,
        "raters/excluded": len(excluded),
        "raters/alarm": int(pool.state != "ok"),
    }
    jsonl.write(out / "pairs.jsonl", pairs)
    jsonl.write(out / "demonstrations.jsonl", demonstrations)
    jsonl.write(out / "flags.jsonl", flags)
    jsonl.write(out / "unused.jsonl", unused)
    jsonl.write_json(out / "raters.json", [one.as_json() for one in verdicts])
    jsonl.write_json(out / "verdict.json", pool.as_json())
    jsonl.write_json(out / "story.json", seen.story)
    jsonl.write_json(out / "figures.json", figures)
    if pool.state == "block":
        raise Blocked(pool.check, pool.message)


def partitions(data: Path) -> dict[int, list[dict[str, Any]]]:
    """Partition number to its rows, oldest first."""
    return {int(path.stem): list(jsonl.read(path)) for path in sorted(data.glob("*.jsonl"))}


def _regions(found: Iterable[Judgement]) -> dict[str, str]:
    """Every rater with the region they gave last."""
    regions: dict[str, str] = {}
    for judgement in found:
        rater, region = judgement.row["rater"], judgement.row.get("region", "")
        regions[rater] = region or regions.get(rater, "")
    return regions


def _agreement_figures(votes: pd.DataFrame, settings: RaterSettings, seed: int) -> dict[str, float]:
    """Figures of agreement of comparisons, those that are known."""
    every = counts(votes)
    draws, sure = settings.bootstrap_draws, settings.confidence
    figures = _named("raters/alpha", agreement.alpha_interval(every, draws, sure, seed))
    figures |= _named("raters/agreement", agreement.agreement_interval(every, draws, sure, seed))
    figures |= _known({"raters/ceiling": agreement.ceiling(every, TIE)})
    for domain, part in votes.groupby("domain"):
        if domain:
            alpha = agreement.alpha(counts(part))
            figures |= _known({f"raters/alpha/domain/{domain_part(str(domain))}": alpha})
    if len(votes):
        newest = counts(votes[votes["round"] == votes["round"].max()])
        figures |= _known({"raters/alpha_newest": agreement.alpha(newest)})
    return figures


def _counts(
    votes: pd.DataFrame,
    verdicts: Sequence[RaterVerdict],
    pairs: Sequence[Mapping[str, Any]],
) -> dict[str, float]:
    sides = Counter(pair["side"] for pair in pairs)
    states = Counter(one.state for one in verdicts)
    epochs = [epoch for one in verdicts for epoch in one.epochs if epoch.accuracy.known]
    overlap = sum(epoch.overlap for one in verdicts for epoch in one.epochs)
    figures: dict[str, float] = {
        "raters/votes": len(votes),
        "raters/raters": len(verdicts),
        "raters/overlap": overlap / max(1, int((votes["label"] != TIE).sum())),
        "raters/pairs": len(pairs),
    }
    if len(votes):
        figures["raters/ties"] = float((votes["label"] == TIE).mean())
    figures |= {f"raters/pairs_{side}": sides[side] for side in ("train", "judge", "eval")}
    figures |= {f"raters/{state}": states[state] for state in ("watch", "suspended", "minority")}
    if size := sum(epoch.overlap for epoch in epochs):
        seen = sum(epoch.accuracy.value * epoch.overlap for epoch in epochs)
        figures["raters/accuracy"] = seen / size
    return figures


def _unused(
    found: Sequence[Judgement],
    ratings: Ratings,
    verdicts: Sequence[RaterVerdict],
    split: SplitSettings,
    lines: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Valid rows that nothing is trained or measured from, each with the reason."""
    used = {row for line in lines for row in line["rows"]}
    by_name = {one.rater: one for one in verdicts}
    spoken = aggregate.may_speak(ratings, split)
    barred, voted = (
        {row for ids in rows for row in ids.split("\0")}
        for rows in (ratings.votes["row"][~spoken], ratings.votes["row"])
    )
    return [
        {
            "id": judgement.row["id"],
            "partition": judgement.partition,
            "reason": _reason(judgement, by_name[judgement.row["rater"]], barred, voted),
        }
        for judgement in found
        if judgement.row["id"] not in used
    ]


def _reason(judgement: Judgement, verdict: RaterVerdict, barred: set[str], voted: set[str]) -> str:
    if not verdict.at(judgement.partition).factor:
        return "suspended"
    if judgement.row["id"] in barred:
        return "panel"
    rated = judgement.row["kind"] == "rating"
    return "unpaired" if rated and judgement.row["id"] not in voted else "repeated"


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    if not estimate.known:
        return {}
    value, low, high = estimate
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _known(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if math.isfinite(value)}
