"""UKPConvArg1 (Habernal and Gurevych 2016): which of two arguments convinces more, by 3,795 people.

Nobody knows who of them changed. The false alarms are those of the same procedure after each
rater's votes were dealt anew over the times at which that rater voted: rater, number of votes and
items stay, and all change of a rater is gone.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.raters.told import Told, over_draws, over_groups, spanned
from roundhouse.raters import anchors, breakdown, cusum, drift, opinion, reliability, table, worth
from roundhouse.raters.table import FIRST, SECOND, TIE, Item

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDS = 4
CHOICES = {"a1": FIRST, "a2": SECOND, "equal": TIE}
#: Votes of the first round that make a record for CUSUM.
LEAST = 20
#: Rules by which a rater counts as changed in a round.
RULES = (f"p < {drift.ALARM_P} (watched)", "q < 0.05 (false discovery rate)", "CUSUM alarm")
#: An item is clear where this share of its votes, ties counting half, or more lies on one side.
CLEAR = 0.8


def read(data: Path) -> tuple[pd.DataFrame, list[Item], pd.Series]:
    """(tidy votes in the order of time, items, published competence of each rater)."""
    votes = pd.read_csv(data / "ukpconvarg1" / "ratings.csv.gz")
    pairs = pd.read_csv(data / "ukpconvarg1" / "pairs.csv.gz")
    votes = votes.sort_values(["submit_time", "pair_id", "rater"], kind="stable")
    code = pd.Series(range(len(pairs)), pairs["topic"] + pairs["pair_id"])
    tidy = table.tidy(
        pd.DataFrame(
            {
                "item": code[votes["topic"] + votes["pair_id"]].to_numpy(),
                "rater": votes["rater"].to_numpy(),
                "label": votes["value"].map(CHOICES).to_numpy(),
                "at": [one.timestamp() for one in pd.to_datetime(votes["submit_time"])],
                "round": 1 + np.arange(len(votes)) * ROUNDS // len(votes),
                "domain": votes["topic"].str.rpartition("_")[0].to_numpy(),
            }
        )
    )
    items = [
        Item([{"role": "user", "content": topic}], one, other, "train", topic.rpartition("_")[0])
        for topic, one, other in zip(pairs["topic"], pairs["text1"], pairs["text2"], strict=True)
    ]
    return tidy, items, votes.groupby("rater")["mace_competence"].first()


def agreed(votes: pd.DataFrame, draws: int) -> list[Told]:
    """Agreement in all, without ties, and in each quarter of the time; what is said of the pool."""
    named = votes[votes["label"] != TIE]
    parts = {"all": (votes, 3), "ties left out": (named, 2)}
    parts |= {f"round {number}": (part, 3) for number, part in votes.groupby("round")}
    told = []
    for name, (part, labels) in parts.items():
        found = breakdown.whole(part, draws, 0.95, 1, labels)
        told.append(Told(f"{name}: votes", found.votes))
        for figure in ("agreement", "alpha", "ac1"):
            one: breakdown.Interval = getattr(found, figure)
            told.append(spanned(f"{name}: {figure}, interval over items", one.items))
            told.append(spanned(f"{name}: {figure}, interval over raters", one.raters))
    return told


def known_of_the_pool(votes: pd.DataFrame) -> str:
    """What is said of the pool's change, without items that come back."""
    now = votes["round"] == ROUNDS
    return anchors.pool_change(votes[now], votes[~now]).cause


def competence(votes: pd.DataFrame, published: pd.Series, draws: int) -> list[Told]:
    """Rank correlation of our figures with the published competence, by fewest votes, with
    intervals over raters."""
    votes = table.latest(votes)
    dawid = reliability.dawid_skene(votes[votes["label"] != TIE], labels=2, symmetric=True)
    model = worth.fit(votes)
    ours = {
        "Dawid-Skene": pd.Series(dawid.accuracy, dawid.raters),
        "worth": pd.Series(model.accuracy, model.raters),
    }
    size, told = votes.groupby("rater").size(), []
    rng = np.random.default_rng(1)
    for least in (20, 50, 100):
        many = [name for name in size.index[size >= least] if name in set(dawid.raters)]
        theirs = _floats(published[many])
        values = {name: _floats(figure[many]) for name, figure in ours.items()}
        drawn = rng.integers(0, len(many), (draws, len(many)))
        spread = {
            name: np.array([_rank(one[k], theirs[k]) for k in drawn])
            for name, one in values.items()
        }
        where = f"{len(many)} raters with {least} votes or more"
        for name, one in values.items():
            low, high = np.quantile(spread[name], [0.025, 0.975])
            told.append(Told(f"{where}: {name}", _rank(one, theirs), low=low, high=high))
        more = spread["worth"] - spread["Dawid-Skene"]
        low, high = np.quantile(more, [0.025, 0.975])
        point = _rank(values["worth"], theirs) - _rank(values["Dawid-Skene"], theirs)
        told.append(Told(f"{where}: worth less Dawid-Skene", point, low=low, high=high))
    return told


def _floats(column: "pd.Series[float]") -> Floats:
    return np.asarray(column, np.float64)


def _rank(one: Floats, other: Floats) -> float:
    return float(spearmanr(one, other).statistic)


def unseen_votes(votes: pd.DataFrame) -> list[Told]:
    """Log loss of one vote an item that the models did not see, where three others or more are;
    ties left out, intervals over debates."""
    votes = table.latest(votes[votes["label"] != TIE])
    size = votes.groupby("item").size()
    often = votes[votes["item"].isin(size.index[size >= 4])]
    asked = often.sample(frac=1.0, random_state=1).drop_duplicates("item")
    seen = votes.drop(asked.index)
    asked = asked[asked["rater"].isin(set(seen["rater"]))]
    dawid = reliability.dawid_skene(seen, labels=2, symmetric=True)
    model = worth.fit(seen)
    counts = seen.groupby(["item", "label"]).size().unstack(fill_value=0)
    shares = (counts + 1).div((counts + 1).sum(axis=1), axis=0)
    row = pd.Index(model.items).get_indexer(pd.Index(asked["item"]))
    rater = pd.Categorical(asked["rater"], categories=dawid.raters).codes
    label = asked["label"].to_numpy(np.int64)
    said = {
        "share of votes": shares.loc[asked["item"]].to_numpy()[np.arange(len(label)), label],
        "Dawid-Skene": np.einsum("vk,vk->v", dawid.soft[row], dawid.confusion[rater, :, label]),
        "worth": model.chance(asked["item"], asked["rater"], asked["label"]),
    }
    loss = {name: -np.log(p) for name, p in said.items()}
    debate = pd.factorize(asked["domain"])[0]
    return [
        Told("votes", len(asked)),
        *(over_groups(name, one, debate) for name, one in loss.items()),
        *(
            over_groups(f"worth less {name}", loss["worth"] - loss[name], debate)
            for name in ("share of votes", "Dawid-Skene")
        ),
    ]


def shuffled(votes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Each rater's votes dealt anew over that rater's own times and rounds."""
    rater = pd.factorize(votes["rater"])[0]
    lined = np.argsort(rater, kind="stable")
    dealt = np.lexsort((np.random.default_rng(seed).random(len(votes)), rater))
    times = votes[["at", "round"]].iloc[lined]
    mixed = votes.iloc[dealt].assign(at=times["at"].to_numpy(), round=times["round"].to_numpy())
    return mixed.sort_values("at", kind="stable", ignore_index=True)


def flags(votes: pd.DataFrame) -> tuple[Ints, int]:
    """(rater-rounds called changed by each of `RULES`, how many were tested by the first two); by
    CUSUM raters, of those with a record of `LEAST` votes in the first round."""
    found, tested = np.zeros(len(RULES), np.int64), 0
    for number in range(2, ROUNDS + 1):
        now, before = votes[votes["round"] == number], votes[votes["round"] < number]
        drifts = drift.drifts(now, before).values()
        tested += len(drifts)
        found[0] += sum(one.p < drift.ALARM_P for one in drifts)
        found[1] += sum(one.q < 0.05 for one in drifts)
    first = votes["round"] == 1
    size = votes[first].groupby("rater").size()
    recorded = set(size.index[size >= LEAST])
    followed = cusum.paths(votes[~first], votes[first]).items()
    found[2] = sum(one.alarm is not None for rater, one in followed if rater in recorded)
    return found, tested


def changed(votes: pd.DataFrame, shuffles: int) -> list[Told]:
    """Raters called changed as the votes came, and with their times shuffled."""
    found, tested = flags(votes)
    mixed = [flags(shuffled(votes, seed)) for seed in range(shuffles)]
    numbers = np.array([one for one, _ in mixed])
    sizes = np.array([size for _, size in mixed])
    told = [
        Told("raters and rounds tested", tested),
        over_draws("the same, shuffled", sizes.astype(float).tolist()),
    ]
    for k, rule in enumerate(RULES):
        told.append(Told(f"{rule}: called changed", int(found[k])))
        told.append(over_draws(f"{rule}: shuffled", numbers[:, k].astype(float).tolist()))
        if k < 2:
            told.append(Told(f"{rule}: share", found[k] / max(1, tested)))
            told.append(over_draws(f"{rule}: share, shuffled", (numbers[:, k] / sizes).tolist()))
        beyond = (1 + int((numbers[:, k] >= found[k]).sum())) / (1 + shuffles)
        told.append(Told(f"{rule}: p of so many by chance", beyond))
    return told


def labels(votes: pd.DataFrame, items: Sequence[Item]) -> list[Told]:
    """The text model on debates that it has not seen, by the labels that it learned from.

    Each debate in turn is left out of everything: raters' skills, labels and text model. Accuracy
    is against clear majorities; log loss is that of single votes, a tie counting half to each side,
    also with the scores stretched by the factor that fits the other debates best. Intervals are
    over debates.
    """
    votes = table.latest(votes)
    debate = np.asarray(pd.factorize(pd.Series([item.domain for item in items]))[0], np.int64)
    features = opinion.features(items)
    size = votes.groupby("item").size().reindex(range(len(items)), fill_value=0).to_numpy()
    y = votes["label"].map({FIRST: 1.0, SECOND: 0.0, TIE: 0.5})
    share = _floats(y.groupby(votes["item"]).mean().reindex(range(len(items))).fillna(0.5))
    names = ("majority", "share of votes", "worth")
    said = {name: np.zeros(len(items)) for name in names}
    where = debate[votes["item"].to_numpy()]
    for number in np.unique(debate):
        rest, left = (debate != number) & (size > 0), debate == number
        model = worth.fit(votes[where != number])
        liked = pd.Series(model.liked, model.items).reindex(range(len(items))).fillna(0.5)
        learned: dict[str, tuple[Floats, Floats]] = {
            # No majority, no hard label.
            "majority": ((share > 0.5).astype(float), (share != 0.5).astype(float)),
            "share of votes": (share, np.ones(len(share))),
            "worth": (_floats(liked), np.ones(len(share))),
        }
        for name, (p, weight) in learned.items():
            fitted = opinion.fit(features[rest], p[rest], weight[rest])
            said[name][left] = fitted.score(features[left])
    clear = (size > 0) & (np.maximum(share, 1 - share) >= CLEAR)
    told = [
        Told("debates", len(np.unique(debate))),
        Told("items", int((size > 0).sum())),
        Told("clear items", int(clear.sum())),
    ]
    used = size > 0
    figures: dict[str, tuple[NDArray[np.bool_], Callable[[Floats], Floats]]] = {
        "accuracy on clear items": (clear, lambda s: ((s > 0) == (share > 0.5)).astype(float)),
        "log loss of votes": (used, lambda s: _loss(s, share)),
        "log loss of votes, stretched": (
            used,
            lambda s: _loss(_stretched(s, share, debate), share),
        ),
    }
    for what, (chosen, figure) in figures.items():
        values = {name: figure(one)[chosen] for name, one in said.items()}
        told += [over_groups(f"{what}: {name}", values[name], debate[chosen]) for name in names]
        told += [
            over_groups(f"{what}: {name} less majority", values[name] - values["majority"],
                        debate[chosen])
            for name in names[1:]
        ]  # fmt: skip
    return told


def _loss(score: Floats, share: Floats) -> Floats:
    """[items] cross entropy of the votes' share from log-odds."""
    return np.asarray(np.logaddexp(0.0, score) - share * score)


def _stretched(score: Floats, share: Floats, debate: Ints) -> Floats:
    """Each debate's scores times the factor of 0 to 2 that gives the others the least loss."""
    factors = np.linspace(0.0, 2.0, 81)
    each = np.array([np.bincount(debate, _loss(f * score, share)) for f in factors])
    best = factors[(each.sum(axis=1, keepdims=True) - each).argmin(axis=0)]
    return np.asarray(best[debate] * score)


def report(data: Path, draws: int, shuffles: int) -> dict[str, list[Told]]:
    """All tables of these votes."""
    votes, items, published = read(data)
    pool = f"UKPConvArg1: agreement (the pool's change: {known_of_the_pool(votes)})"
    return {
        pool: agreed(votes, draws),
        "UKPConvArg1: rank correlation with the published competence": competence(
            votes, published, draws
        ),
        "UKPConvArg1: log loss of votes not seen": unseen_votes(votes),
        f"UKPConvArg1: raters called changed, {shuffles} shuffles": changed(votes, shuffles),
        "UKPConvArg1: text model on unseen debates": labels(votes, items),
    }
