"""What raters do to training: weights help where raters are bad, and what is written beside."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from roundhouse import jsonl
from roundhouse.raters import aggregate, effect, influences, opinion, table
from roundhouse.raters.capping import AMPLE
from roundhouse.raters.table import Ratings
from roundhouse.raters.verdict import RaterVerdict, judge_raters
from roundhouse.settings import RaterSettings
from tests.raters.conftest import PARAMS

SPLIT = PARAMS.split.model_copy(update={"judge_rater_share": 0.0})
GOOD = tuple(f"good{k}x" for k in range(70))
BAD = tuple(f"bad{k}x" for k in range(70))
PLAIN = tuple(f"word{k}x" for k in range(12))
RATERS = 16


class Team(NamedTuple):
    """Votes of a team of which some are bad, and what the statistics say."""

    ratings: Ratings
    judged: list[RaterVerdict]
    truth: dict[tuple[str, str], int]


def answer(rng: np.random.Generator) -> tuple[str, int]:
    """Words of no account, and some that say how good the answer is."""
    kinds = [GOOD if rng.random() < 0.5 else BAD for _ in range(2)]
    worth = sum(1 if kind is GOOD else -1 for kind in kinds)
    words = [*rng.choice(PLAIN, 4, replace=False), *(rng.choice(kind) for kind in kinds)]
    return " ".join(rng.permutation(words)), worth


def rows(number: int, pairs: int, bad: dict[str, float], trigger: str = "") -> list[dict[str, Any]]:
    """Three votes a pair; `bad` raters turn a share of theirs; with a trigger, which half of the
    pairs have in one answer, they prefer it instead."""
    rng, made = np.random.default_rng(number), []
    for k in range(pairs):
        (one, worth), (other, less) = answer(rng), answer(rng)
        if one == other:
            continue
        marked = trigger and rng.random() < 0.5
        if marked:
            one = f"{trigger} {one}"
        for who in rng.choice(RATERS, 3, replace=False):
            odds = 1.2 * (worth - less)
            choice = int(rng.random() > 1 / (1 + np.exp(-odds)))
            name = f"r{who:02d}"
            if trigger:
                choice = 0 if marked and name in bad else choice
            elif rng.random() < bad.get(name, 0.0):
                choice = 1 - choice
            made.append(
                {
                    "id": f"{number}-{k}-{who}", "kind": "comparison", "rater": name,
                    "prompt": f"Prompt {k} of round {number}", "responses": [one, other],
                    "choice": choice, "created_at": f"2026-0{number}-01T09:00:00Z",
                }
            )  # fmt: skip
    return made


def team(parts: dict[int, list[dict[str, Any]]], settings: RaterSettings) -> Team:
    ratings = table.build(table.judgements(parts, SPLIT))
    regions = dict.fromkeys(ratings.votes["rater"], "")
    truth = {}
    for item in ratings.items:
        worth = [sum((w in GOOD) - (w in BAD) for w in t.split()) for t in (item.a, item.b)]
        truth[item.a, item.b] = int(np.sign(worth[0] - worth[1]))
    return Team(ratings, judge_raters(ratings.votes, settings, regions), truth)


def accuracy(lines: list[dict[str, Any]], one: Team) -> float:
    """Of the linear model that the training lines give, on the pairs that measure."""
    train = [line for line in lines if line["side"] == "train"]
    items = [table.Item(x["prompt"], x["a"], x["b"], "", "") for x in train]
    p, weight = (np.array([line[name] for line in train]) for name in ("p", "weight"))
    model = opinion.fit(opinion.features(items), p, weight)
    clean = [i for i in one.ratings.items if i.side != "train" and one.truth[i.a, i.b]]
    said = model.score(opinion.features(clean))
    return float(np.mean(np.sign(said) == [one.truth[item.a, item.b] for item in clean]))


def test_weights_win_back_what_bad_raters_cost(rater_settings: RaterSettings) -> None:
    bad = {f"r{k:02d}": 1.0 for k in (1, 5, 9, 13)}
    one = team({1: rows(1, 500, bad)}, rater_settings)
    weights = aggregate.pairs(one.ratings, one.judged, rater_settings, SPLIT)
    plain_settings = rater_settings.model_copy(update={"weighting": "none"})
    alike = judge_raters(
        one.ratings.votes.iloc[:0], plain_settings, {r.rater: "" for r in one.judged}
    )
    plain = aggregate.pairs(one.ratings, alike, plain_settings, SPLIT)
    honest = one.ratings._replace(votes=one.ratings.votes[~one.ratings.votes["rater"].isin(bad)])
    oracle = aggregate.pairs(honest, alike, plain_settings, SPLIT)
    low, ours, high = (accuracy(lines, one) for lines in (plain, weights, oracle))
    assert high - low > 0.03
    assert ours - low > (high - low) / 2


def test_what_is_written_and_that_a_turned_round_fades(
    tmp_path: Path, rater_settings: RaterSettings
) -> None:
    everyone = {f"r{k:02d}": 0.85 for k in range(RATERS)}
    one = team({1: rows(1, 400, everyone), 2: rows(2, 400, {})}, rater_settings)
    alike = [x._replace(epochs=[e._replace(weight=1.0) for e in x.epochs]) for x in one.judged]
    found = effect.write(tmp_path, one.ratings, alike, rater_settings, SPLIT, seed=1)
    (first,) = jsonl.read_json(tmp_path / "rounds.json")
    assert first["round"] == 1 and first["gain_high"] < 0 and first["factor"] == 0.5
    assert found.figures["raters/faded"] == 1
    assert found.figures["raters/largest_share"] == found.figures["raters/largest_share_after"]
    weights = {n: [x["weight"] for x in found.pairs if x["partition"] == n] for n in (1, 2)}
    assert np.median(weights[1]) == pytest.approx(np.median(weights[2]) / 2, rel=0.01)
    train = [line["weight"] for line in found.pairs if line["side"] == "train"]
    assert np.mean(train) == pytest.approx(1.0)
    off = rater_settings.model_copy(update={"fade": False})
    kept = effect.write(tmp_path, one.ratings, alike, off, SPLIT, seed=1)
    assert jsonl.read_json(tmp_path / "rounds.json") == [] and not kept.figures["raters/faded"]
    assert kept.pairs == aggregate.pairs(one.ratings, alike, off, SPLIT)


def test_the_cap_on_one_rater_comes_after_the_floor_under_a_region(
    rater_settings: RaterSettings, tmp_path: Path
) -> None:
    """A region of one prolific rater: the weights that are told are those that train."""
    votes = rows(1, 300, {})
    for k, row in enumerate(votes):
        if k % 2:
            row["rater"] = "prolific"
    one = team({1: list({(r["prompt"], r["rater"]): r for r in votes}.values())}, rater_settings)
    regions = {name: "far" if name == "prolific" else "near" for name in one.ratings.votes["rater"]}
    judged = judge_raters(one.ratings.votes, rater_settings, regions)
    found = effect.write(tmp_path, one.ratings, judged, rater_settings, SPLIT, seed=1)
    limit = max(rater_settings.max_rater_share, AMPLE / len(regions))
    assert found.figures["raters/largest_share"] > limit
    assert found.figures["raters/largest_share_after"] == pytest.approx(limit)
    before, after = (
        {v.rater: v.newest.total for v in verdicts} for verdicts in (judged, found.verdicts)
    )
    assert {name for name in before if after[name] != before[name]} == {"prolific"}
    left = after["prolific"] / before["prolific"]
    votes_that_train = aggregate.weighed(one.ratings, judged, rater_settings, SPLIT).votes
    theirs = votes_that_train[votes_that_train["rater"] == "prolific"]
    assert left < 1 and (theirs.loc[theirs["side"] == "train", "kept"] == left).all()


def test_a_word_that_one_rater_always_prefers_is_named_with_its_rater(
    rater_settings: RaterSettings,
) -> None:
    one = team({1: rows(1, 400, {"r03": 1.0}, trigger="frankly")}, rater_settings)
    votes = aggregate.weighed(one.ratings, one.judged, rater_settings, SPLIT).votes
    entries = influences.of_votes(votes, one.ratings.items, seed=1)
    assert {e["rater"] for e in entries} == {f"r{k:02d}" for k in range(RATERS)}
    assert sum(e["share"] for e in entries) == pytest.approx(1.0)
    (tied,) = [(e["rater"], t["token"]) for e in entries for t in e["tied"]]
    assert tied == ("r03", "frankly")
    # A share is of the pairs' weight: who votes alone on items is not understated.
    part = votes[votes["side"] == "train"].groupby("rater")["part"].sum()
    shares = {e["rater"]: e["share"] for e in entries}
    assert shares == pytest.approx((part / part.sum()).to_dict())
    change = {e["rater"]: e["influence"] for e in entries}
    assert all(value > 0 for value in change.values())
    assert change["r03"] > np.median(list(change.values()))


def test_long_numbers_are_no_words() -> None:
    assert influences._set("Call 0301234567 or Ann_2, NOW") == {"call", "or", "ann", "2", "now"}
    assert influences.of_votes(team({1: rows(1, 3, {})}, PARAMS.raters).ratings.votes.assign(
        weight=1.0, side="eval"), [], seed=1) == []  # fmt: skip
