"""The rater statistics on real people: UKPConvArg1 and HateCheck.

    .venv/bin/python benchmarks/raters/people.py --data DIR --out people.json

DIR holds `ukpconvarg1/` (70,668 timed votes of 3,795 people on which of two arguments convinces
more, with ties, and each person's published competence) and `hatecheck/` (five of ten people on
each of 3,901 sentences whose right label is known). Both are public; no row leaves the machine.

Nobody knows who of these people changed. The false alarms are those of the same procedure after
each rater's votes were put into another order, which keeps the rater and takes away all change.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from roundhouse.raters import agreement, drift, opinion, reliability, table, worth
from roundhouse.raters.table import FIRST, SECOND, TIE, Item

Floats = NDArray[np.float64]
Figures = dict[str, Any]

ROUNDS = 4
CHOICES = {"a1": FIRST, "a2": SECOND, "equal": TIE}
#: Shares of one person's labels that are turned on HateCheck, each of ten people in turn.
TURNED = (0.1, 0.2, 0.3)
#: Largest raised share of false discoveries at which a rater counts as changed.
RATE = 0.05


def arguments(data: Path) -> tuple[pd.DataFrame, list[Item], pd.Series]:
    """(tidy votes, items, published competence of each rater) of UKPConvArg1."""
    votes = pd.read_csv(data / "ukpconvarg1" / "ratings.csv.gz")
    pairs = pd.read_csv(data / "ukpconvarg1" / "pairs.csv.gz")
    votes = votes.sort_values(["submit_time", "pair_id", "rater"], kind="stable")
    key = pairs["topic"] + pairs["pair_id"]
    code = pd.Series(range(len(pairs)), key)
    tidy = table.tidy(
        pd.DataFrame(
            {
                "item": code[votes["topic"] + votes["pair_id"]].to_numpy(),
                "rater": votes["rater"].to_numpy(),
                "label": votes["value"].map(CHOICES).to_numpy(),
                "at": pd.to_datetime(votes["submit_time"]).astype("int64").to_numpy() / 1e9,
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


def hate(data: Path) -> pd.DataFrame:
    """HateCheck as a tidy table: label 1 is hateful, `gold` the right one."""
    cases = pd.read_csv(data / "hatecheck" / "all_annotations.csv")
    names = [f"label_{number}" for number in range(1, 11)]
    said = cases[names].stack().dropna().reset_index()
    said.columns = pd.Index(["item", "rater", "label"])
    right = (cases["label_gold"] == "hateful").astype(int)
    return table.tidy(
        said.assign(
            label=(said["label"] == "hateful").astype(np.int64),
            gold=right[said["item"]].to_numpy(),
        )
    )


def agreed(votes: pd.DataFrame) -> Figures:
    """Agreement in all and in each quarter of the time, with intervals over items."""
    found = {}
    for name, part in [("all", votes), *votes.groupby("round")]:
        rows = agreement.from_table(table.latest(part), 3)
        plain = agreement.CountRows(np.delete(rows.counts, TIE, axis=1), rows.items)
        found[str(name)] = {
            "votes": len(part),
            "alpha": agreement.alpha_interval(rows, 1000, 0.95, 1),
            "agreement": agreement.agreement_interval(rows, 1000, 0.95, 1),
            "without ties": agreement.agreement_interval(plain, 1000, 0.95, 1),
        }
    return found


def competence(votes: pd.DataFrame, published: pd.Series) -> Figures:
    """Rank correlation of our figures with the published competence, by fewest votes."""
    votes = table.latest(votes)
    plain = votes[votes["label"] != TIE]
    dawid = reliability.dawid_skene(plain, labels=2, symmetric=True)
    model = worth.fit(votes)
    ours = {
        "Dawid-Skene without ties": pd.Series(dawid.accuracy, dawid.raters),
        "worth, accuracy": pd.Series(model.accuracy, model.raters),
        "worth, sharpness": pd.Series(model.sharpness, model.raters),
    }
    size, found = votes.groupby("rater").size(), {}
    for least in (20, 50, 100):
        many = [name for name in size.index[size >= least] if name in dawid.raters]
        found[f"{least} votes or more ({len(many)} raters)"] = {
            name: float(spearmanr(figure[many], published[many]).statistic)
            for name, figure in ours.items()
        }
    return found


def held_out(votes: pd.DataFrame) -> Figures:
    """Log loss of one vote an item that the models did not see, where at least three others are."""
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
    row = pd.Series(range(len(model.items)), model.items)[asked["item"]].to_numpy()
    rater = pd.Categorical(asked["rater"], categories=dawid.raters).codes
    label = asked["label"].to_numpy(np.int64)
    said = {
        "share of votes": shares.loc[asked["item"]].to_numpy()[np.arange(len(label)), label],
        "Dawid-Skene": np.einsum("vk,vk->v", dawid.soft[row], dawid.confusion[rater, :, label]),
        "worth": model.chance(asked["item"], asked["rater"], asked["label"]),
    }
    return {"votes": len(asked)} | {name: float(-np.log(p).mean()) for name, p in said.items()}


def changed(votes: pd.DataFrame, seed: int | None) -> tuple[int, int]:
    """(raters and rounds that are called changed, those that were tested); with a seed, after each
    rater's votes have been put into another order."""
    if seed is not None:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(votes))
        mixed = votes.iloc[order].sort_values("rater", kind="stable")
        lined = votes.sort_values("rater", kind="stable")
        votes = mixed.assign(round=lined["round"].to_numpy())
    alarms = tested = 0
    for number in range(2, ROUNDS + 1):
        now, before = votes[votes["round"] == number], votes[votes["round"] < number]
        found = drift.drifts(now, before)
        tested += len(found)
        alarms += sum(one.q < RATE for one in found.values())
    return alarms, tested


def corrupted(votes: pd.DataFrame, seed: int = 1) -> Figures:
    """HateCheck: how often a person is found of whose labels a share was turned in the second half,
    and how often the nine others are accused."""
    half = votes["item"] % 2 + 1
    votes = votes.assign(round=half, gold=-1)
    found: Figures = {}
    for share in (0.0, *TURNED):
        hits, accused, tested = 0, 0, 0
        for number, name in enumerate(sorted(votes["rater"].unique())):
            rng = np.random.default_rng([seed, number])
            turned = (votes["rater"] == name) & (half == 2) & (rng.random(len(votes)) < share)
            told = votes.assign(label=np.where(turned, 1 - votes["label"], votes["label"]))
            flags = drift.drifts(told[half == 2], told[half == 1])
            hits += name in flags and flags[name].q < RATE
            others = [one.q < RATE for rater, one in flags.items() if rater != name]
            accused, tested = accused + sum(others), tested + len(others)
        found[f"{share:.0%} turned"] = {"found of 10": hits, "others accused": accused / tested}
    return found


def labels(votes: pd.DataFrame, items: Sequence[Item]) -> Figures:
    """The text model on debates it has not seen, by the labels it learned from: accuracy against
    clear majorities, and log loss of single votes. Standard errors are over debates."""
    votes = table.latest(votes)
    debate = pd.factorize(pd.Series([item.domain for item in items]))[0]
    features = opinion.features(items)
    model = worth.fit(votes)
    y = votes["label"].map({FIRST: 1.0, SECOND: 0.0, TIE: 0.5})
    share = y.groupby(votes["item"]).mean().reindex(range(len(items)))
    size = votes.groupby("item").size().reindex(range(len(items)), fill_value=0).to_numpy()
    used = size > 0
    soft = share.fillna(0.5).to_numpy()
    liked = (
        pd.Series(model.liked, model.items).reindex(range(len(items)), fill_value=0.5).to_numpy()
    )
    ways = {
        "majority": np.where(soft == 0.5, 0.5, (soft > 0.5).astype(float)),
        "share of votes": soft,
        "worth": liked,
    }
    found = {}
    for name, p in ways.items():
        said = opinion.out_of_fold(features, p, np.where(used, 1.0, 0.0), debate)
        clear = used & (np.abs(soft - 0.5) >= 0.3)
        right = ((said > 0) == (soft > 0.5))[clear]
        chance = 1 / (1 + np.exp(-np.clip(said, -30, 30)))
        loss = -(soft * np.log(chance) + (1 - soft) * np.log(1 - chance))[used]
        found[name] = {
            "accuracy": _by_group(right.astype(float), debate[clear]),
            "log loss": _by_group(loss, debate[used]),
        }
    return found


def _by_group(values: Floats, group: NDArray[Any]) -> tuple[float, float]:
    """(mean, standard error) of a mean whose values come in groups (linearised ratio)."""
    mean = float(values.mean())
    each = np.bincount(group, values - mean)
    return mean, float(np.sqrt((each**2).sum()) / len(values))


def report(data: Path) -> Figures:
    """All figures."""
    votes, items, published = arguments(data)
    cases = hate(data)
    dawid = reliability.dawid_skene(cases, labels=2)
    right = (cases["label"] == cases["gold"]).groupby(cases["rater"]).mean()
    alarms = changed(votes, None)
    mixed = [changed(votes, seed) for seed in range(20)]
    rates = [alarm / max(1, tested) for alarm, tested in mixed]
    return {
        "UKPConvArg1, agreement": agreed(votes),
        "UKPConvArg1, rank correlation with published competence": competence(votes, published),
        "UKPConvArg1, log loss of a vote not seen": held_out(votes),
        "UKPConvArg1, raters called changed": {
            "alarms": alarms[0],
            "tested": alarms[1],
            "share": alarms[0] / max(1, alarms[1]),
            "after mixing": (float(np.mean(rates)), float(np.std(rates, ddof=1) / math.sqrt(20))),
        },
        "UKPConvArg1, text model on unseen debates": labels(votes, items),
        "HateCheck, accuracy by the model and by gold": {
            name: (float(a), float(right[name]))
            for name, a in zip(dawid.raters, dawid.accuracy, strict=True)
        },
        "HateCheck, one person's labels turned": corrupted(cases),
    }


def show(name: str, found: Any, depth: int = 0) -> None:
    """Prints figures as an outline."""
    if isinstance(found, dict):
        sys.stdout.write(f"{'  ' * depth}{name}\n")
        for key, value in found.items():
            show(key, value, depth + 1)
        return
    parts = found if isinstance(found, tuple) else (found,)
    told = "  ".join(f"{part:.4f}" if isinstance(part, float) else str(part) for part in parts)
    sys.stdout.write(f"{'  ' * depth}{name:44} {told}\n")


def main() -> None:
    """Prints the report; writes it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = report(options.data)
    for name, part in found.items():
        show(name, part)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
