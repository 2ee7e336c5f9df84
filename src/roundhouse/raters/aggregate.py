"""Votes become training material: soft-labelled weighted pairs, demonstrations, flagged answers.

A pair's label comes only from raters who may speak on its side: on prompts that train, those off
the judge's panel; on the judge's prompts, the panel; on prompts that measure, everybody. Where
nobody is on the panel (a small team, or a share of 0) both sides take every rater, and where
everybody is, too. A rater's weight is one number from all of their votes; it is all that crosses
between the sides.

Why a pair's label is the weighted share of its votes, and not the Dawid-Skene posterior: the
posterior takes all items for equally hard, so three votes make it too sure. Measured with a linear
reward model on simulated votes whose items differ in difficulty (three votes an item, a quarter of
the raters voting at random, 40 seeds): plain share of votes 0.904, majority 0.891, posterior 0.915,
share weighted by (2a - 1)^2 0.916, share weighted by 2a - 1 0.919, without the bad raters 0.923.
With no bad rater the posterior loses half a point and the weighted share nothing. Pairs with more
votes weigh more, by the square root of their number: best or near best of one, root and number
whether items had an effect of their own or not.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse import feedback
from roundhouse.raters.capping import capped
from roundhouse.raters.table import FIRST, TIE, Item, Judgement, Ratings, latest
from roundhouse.raters.verdict import RaterVerdict
from roundhouse.settings import RaterSettings, SplitSettings

Floats = NDArray[np.float64]

#: Chance that a text written to be better (a correction, a demonstration over a flagged answer) is
#: not better.
MISTAKE = 0.05
_WRITTEN = ("correction", "flag")


def pairs(
    ratings: Ratings,
    verdicts: Sequence[RaterVerdict],
    settings: RaterSettings,
    split: SplitSettings,
) -> list[dict[str, Any]]:
    """The lines of pairs.jsonl: `of_votes` of those that are `weighed`."""
    return of_votes(weighed(ratings, verdicts, settings, split).votes, ratings.items, settings)


def of_votes(
    votes: pd.DataFrame, known: Sequence[Item], settings: RaterSettings
) -> list[dict[str, Any]]:
    """The lines of pairs.jsonl, in the order in which items first came.

    `p` is the probability that answer a is better, a tie counting half; weights average 1 a side.
    `partition` and `since` are those of the newest and of the oldest vote on the item. `strength`,
    where votes give one, is their weighted mean, a tie being 0.

    Args:
        votes: those that count, as `weighed` gives them.
        known: the items that they name by place.
        settings: how votes are weighed.
    """
    if not len(votes):
        return []
    weight = votes["weight"].to_numpy(float)
    code, items = pd.factorize(votes["item"], sort=True)
    size = np.bincount(code, minlength=len(items))
    soft, strength = _labels(votes, weight, code, size, settings)
    found = [known[item] for item in items]
    strength = _normalised(strength, [one.side for one in found])
    newest = votes["round"].groupby(code).max().to_numpy()
    since = votes["since"].groupby(code).min().to_numpy()
    rows = _rows(votes, code, len(items))
    said = _said_strength(votes, weight, code, len(items))
    return [
        _line(found[k], float(soft[k]), float(strength[k]), int(size[k]), rows[k])
        | {"partition": int(newest[k]), "since": int(since[k])}
        | ({"strength": float(said[k])} if said[k] > 0 else {})
        for k in range(len(items))
    ]


class Weighed(NamedTuple):
    """votes: those that count, with columns `weight` (capped), and `side` and `since` (the round of
    the oldest vote) of their item; before, after: largest share of one rater in a round's pairs
    that train (`capping`); `part` is what a vote adds to the weight of its pair, and `kept` the
    factor of the cap on it."""

    votes: pd.DataFrame
    before: float
    after: float


def weighed(
    ratings: Ratings,
    verdicts: Sequence[RaterVerdict],
    settings: RaterSettings,
    split: SplitSettings,
) -> Weighed:
    """The last vote of each rater on each item who may speak there, and what it weighs.

    The cap on one rater's share acts where weights do: not with `weighting: majority`.
    """
    spoken = ratings.votes[may_speak(ratings, split)]
    votes = latest(spoken.assign(since=spoken.groupby("item")["round"].transform("min")))
    votes = votes.assign(weight=_weights(votes, verdicts) * votes["share"])
    votes = votes[votes["weight"] > 0].reset_index(drop=True)
    side = np.array([ratings.items[item].side for item in votes["item"]], dtype=np.str_)
    part = votes["weight"].to_numpy(float)
    if settings.weighting == "reliability":
        part = part / np.sqrt(np.bincount(votes["item"])[votes["item"]])
    elif settings.weighting == "majority":
        part = part / np.bincount(votes["item"], part)[votes["item"]]
    most = 1.0 if settings.weighting == "majority" else settings.max_rater_share
    found = capped(votes, part, side, most)
    counted = votes.assign(
        weight=votes["weight"] * found.factors, part=part * found.factors, kept=found.factors,
        side=side,
    )  # fmt: skip
    return Weighed(counted, found.before, found.after)


def demonstrations(
    found: Iterable[Judgement], verdicts: Sequence[RaterVerdict]
) -> list[dict[str, Any]]:
    """The lines of demonstrations.jsonl: answers written by people, and corrected ones.

    A suspended rater's are left out, a watched rater's count half. The same answer to the same
    prompt is one demonstration.
    """
    by_name = {one.rater: one for one in verdicts}
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for judgement in found:
        row = judgement.row
        if row["kind"] not in ("demonstration", "correction"):
            continue
        weight = by_name[row["rater"]].at(judgement.partition).factor
        if not weight:
            continue
        answer = row["response"] if row["kind"] == "demonstration" else row["correction"]
        key = (judgement.side, judgement.text_key, answer)
        if key in lines:
            lines[key]["rows"].append(row["id"])
            lines[key]["weight"] = max(lines[key]["weight"], weight)
            continue
        lines[key] = {**_start(judgement), "response": answer, "weight": weight}
    return list(lines.values())


def _weights(votes: pd.DataFrame, verdicts: Sequence[RaterVerdict]) -> Floats:
    """[votes] weight of each, by its rater and round, and by its time where they changed in it."""
    by_name = {one.rater: one for one in verdicts}
    keys = list(zip(votes["rater"], votes["round"], strict=True))
    each = {(rater, number): by_name[rater].at(number) for rater, number in set(keys)}
    epochs = [each[key] for key in keys]
    weight, before, changed = (
        np.array([getattr(epoch, name) for epoch in epochs], np.float64)
        for name in ("weight", "weight_before", "changed")
    )
    return np.where(votes["at"].to_numpy(np.float64) < changed, before, weight)


def flags(found: Iterable[Judgement]) -> list[dict[str, Any]]:
    """The lines of flags.jsonl: every flagged answer, whoever flagged it, with all reasons.

    No state of a rater removes one: a safety case is looked at, not voted on.
    """
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    reasons: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for judgement in found:
        row = judgement.row
        if row["kind"] != "flag":
            continue
        key = (judgement.side, judgement.text_key, row["response"])
        if row["reason"] not in reasons[key]:
            reasons[key].append(row["reason"])
        if key in lines:
            lines[key]["rows"].append(row["id"])
            continue
        lines[key] = {**_start(judgement), "response": row["response"]}
        del lines[key]["partition"]
    return [{**line, "reason": "; ".join(reasons[key])} for key, line in lines.items()]


def panel(ratings: Ratings, split: SplitSettings) -> set[str]:
    """The raters of the judge's panel; empty where it would hold nobody, or everybody."""
    raters = set(ratings.votes["rater"])
    chosen = {rater for rater in raters if feedback.on_panel(rater, split)}
    return set() if chosen == raters else chosen


def in_both(lines: Iterable[Mapping[str, Any]], found: Iterable[Judgement]) -> set[str]:
    """Raters whose votes stand behind pairs that train and behind pairs of the judge."""
    rater = {judgement.row["id"]: judgement.row["rater"] for judgement in found}
    heard: dict[str, set[str]] = {"train": set(), "judge": set(), "eval": set()}
    for line in lines:
        heard[line["side"]].update(rater[row] for row in line["rows"])
    return heard["train"] & heard["judge"]


def may_speak(ratings: Ratings, split: SplitSettings) -> NDArray[np.bool_]:
    """[votes] True where the rater may speak on the side of the item."""
    chosen = panel(ratings, split)
    votes = ratings.votes
    if not chosen:
        return np.ones(len(votes), dtype=bool)
    side = np.array([ratings.items[item].side for item in votes["item"]])
    sits = votes["rater"].isin(chosen).to_numpy()
    return np.asarray((side == "eval") | ((side == "judge") == sits))


def _labels(
    votes: pd.DataFrame,
    weight: Floats,
    code: NDArray[np.int64],
    size: NDArray[np.int64],
    settings: RaterSettings,
) -> tuple[Floats, Floats]:
    """([items] probability that the first answer is better, [items] weight of the pair)."""
    label = votes["label"].to_numpy(np.int64)
    sure = np.where(votes["kind"].isin(_WRITTEN), MISTAKE, 0.0)
    for_first = np.where(label == TIE, 0.5, np.where(label == FIRST, 1 - sure, sure))
    total = np.bincount(code, weight, minlength=len(size))
    soft = np.bincount(code, weight * for_first, minlength=len(size)) / total
    if settings.weighting == "majority":
        return np.asarray((np.sign(np.round(soft - 0.5, 9)) + 1) / 2), np.ones(len(size))
    if settings.weighting == "none":
        return soft, np.asarray(total, np.float64)
    return soft, np.asarray(total / np.sqrt(size))


def _said_strength(
    votes: pd.DataFrame, weight: Floats, code: NDArray[np.int64], items: int
) -> Floats:
    """[items] weighted mean of the strength of the votes that gave one, 0 where none did."""
    strength = votes["strength"].to_numpy(float)
    known = ~np.isnan(strength) & (votes["strength"].groupby(code).transform("max").to_numpy() > 0)
    total = np.bincount(code[known], weight[known], minlength=items)
    said = np.bincount(code[known], weight[known] * strength[known], minlength=items)
    return np.asarray(np.divide(said, total, out=np.zeros(items), where=total > 0))


def _normalised(weight: Floats, side: Sequence[str]) -> Floats:
    names = np.array(side)
    result = weight.copy()
    for name in set(side):
        chosen = names == name
        result[chosen] /= weight[chosen].mean()
    return result


def _rows(votes: pd.DataFrame, code: NDArray[np.int64], items: int) -> list[list[str]]:
    rows: list[dict[str, None]] = [{} for _ in range(items)]
    for item, row in zip(code, votes["row"], strict=True):
        rows[item].update(dict.fromkeys(row.split("\0")))
    return [list(ids) for ids in rows]


def _line(item: Item, p: float, weight: float, votes: int, rows: list[str]) -> dict[str, Any]:
    return {
        "prompt": item.prompt, "a": item.a, "b": item.b, "p": p, "weight": weight, "votes": votes,
        "side": item.side, "domain": item.domain, "rows": rows,
    }  # fmt: skip


def _start(judgement: Judgement) -> dict[str, Any]:
    row: Mapping[str, Any] = judgement.row
    return {
        "prompt": feedback.messages(row["prompt"]), "side": judgement.side,
        "domain": row.get("domain", ""), "partition": judgement.partition, "rows": [row["id"]],
    }  # fmt: skip
