"""HateCheck (Röttger et al. 2021): ten people on 3,901 sentences whose right label is known.

Each sentence was labelled by five of the ten, and these raters are right in 95 to 99.8 of 100. To
see whether a change is found, labels of one of them are turned on purpose.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks.raters.told import Told, over_draws
from roundhouse.raters import drift, reliability, spam, table, worth

#: Shares of one person's labels that are turned, each of ten people in turn.
TURNED = (0.0, 0.1, 0.2, 0.3, 0.5)
#: Sentences that are used, and the share of them that are check items. All of them give each person
#: 975 labels a half, 800 give 200, and 200 give 50.
PLANS = ((3901, 0.0), (800, 0.0), (800, 0.15), (200, 0.0))
RULES: dict[str, Callable[[drift.Drift], bool]] = {
    f"p < {drift.ALARM_P}": lambda one: one.p < drift.ALARM_P,
    "q < 0.05": lambda one: one.q < 0.05,
}


def read(data: Path) -> pd.DataFrame:
    """The labels as a tidy table: 1 is hateful, `gold` the right one.

    The file is sorted by kind of sentence; in which order people saw them is not known, so that
    they stand in an order drawn at random, which holds no runs of one answer.
    """
    cases = pd.read_csv(data / "hatecheck" / "all_annotations.csv")
    names = [f"label_{number}" for number in range(1, 11)]
    said = cases[names].stack().dropna().reset_index()
    said.columns = pd.Index(["item", "rater", "label"])
    right = (cases["label_gold"] == "hateful").astype(np.int64).to_numpy()
    label = (said["label"] == "hateful").astype(np.int64)
    mixed = said.assign(label=label, gold=right[said["item"].to_numpy()])
    return table.tidy(mixed.sample(frac=1.0, random_state=1))


def against_gold(votes: pd.DataFrame) -> list[Told]:
    """Accuracy as the models find it without `gold`, beside the share of right labels."""
    right = (votes["label"] == votes["gold"]).groupby(votes["rater"]).mean()
    dawid, model = reliability.dawid_skene(votes, labels=2), worth.fit(votes)
    told = []
    for name, raters, accuracy, spans in (
        ("Dawid-Skene", dawid.raters, dawid.accuracy, dawid.interval(0.95)),
        ("worth", model.raters, model.accuracy, model.interval(0.95)),
    ):
        theirs = right[raters].to_numpy()
        inside = [
            span.low <= one <= span.high for span, one in zip(spans, theirs.tolist(), strict=True)
        ]
        told += [
            Told(f"{name}: mean absolute error", float(np.abs(accuracy - theirs).mean())),
            Told(f"{name}: rank correlation", float(spearmanr(accuracy, theirs).statistic)),
            Told(f"{name}: 95 % intervals that cover the share, of 10", sum(inside)),
        ]
    for name in sorted(dawid.raters, key=lambda one: int(one.rpartition("_")[2])):
        place = dawid.raters.index(name)
        told.append(Told(f"{name}: right by gold", float(right[name])))
        told.append(Told(f"{name}: Dawid-Skene", float(dawid.accuracy[place])))
        told.append(Told(f"{name}: worth", float(model.accuracy[model.raters.index(name)])))
    return told


def turned(votes: pd.DataFrame, replicates: int) -> list[Told]:
    """One person turns a share of the labels of the second half: how often they are called changed,
    and the share of the nine others who are. Halves and turned labels are drawn anew each time;
    with a share of 0 nobody changed, and all ten are others."""
    told = []
    for size, checked in PLANS:
        for share in TURNED:
            where = f"{size:,} sentences, {checked:.0%} check items, {share:.0%} turned"
            told += _turned(votes, where, (size, checked, share), replicates)
    return told


def _turned(
    votes: pd.DataFrame, where: str, plan: tuple[int, float, float], replicates: int
) -> list[Told]:
    size, checked, share = plan
    names = sorted(votes["rater"].unique())
    hits: dict[str, list[float]] = {rule: [] for rule in RULES}
    accused: dict[str, list[float]] = {rule: [] for rule in RULES}
    for number in range(replicates):
        rng = np.random.default_rng([number, size])
        item = rng.permutation(votes["item"].max() + 1)
        used = votes[item[votes["item"]] < size]
        place = item[used["item"]]
        half = 1 + place % 2
        gold = np.where(place < checked * size, used["gold"], -1)
        used = used.assign(round=half, gold=gold)
        for name in names if share else names[:1]:
            struck = rng.random(len(used)) < share
            bad = struck & (used["rater"] == name).to_numpy() & (half == 2)
            told = used.assign(label=np.where(bad, 1 - used["label"], used["label"]))
            found = drift.drifts(told[half == 2], told[half == 1])
            for rule, holds in RULES.items():
                others = [holds(one) for rater, one in found.items() if rater != name or not share]
                accused[rule].append(sum(others) / max(1, len(others)))
                if share:
                    hits[rule].append(float(name in found and holds(found[name])))
    lines = []
    for rule in RULES:
        if share:
            lines.append(over_draws(f"{where}: found, {rule}", hits[rule]))
        lines.append(over_draws(f"{where}: others accused, {rule}", accused[rule]))
    return lines


def from_the_start(votes: pd.DataFrame, replicates: int) -> list[Told]:
    """One person turns a share of all their labels: called random by `spam.findings` without check
    items, the nine others accused, and the error of the model's accuracy for that person."""
    right, told = votes["gold"].to_numpy(), []
    votes = votes.assign(gold=-1)
    names = sorted(votes["rater"].unique())
    for share in TURNED:
        hits, accused, errors = [], [], []
        for number in range(replicates):
            name = names[number % len(names)]
            rng = np.random.default_rng([number, round(100 * share)])
            bad = (rng.random(len(votes)) < share) & (votes["rater"] == name).to_numpy()
            used = votes.assign(label=np.where(bad, 1 - votes["label"], votes["label"]))
            flagged = {one.rater for one in spam.findings(used, seed=number) if one.flagged}
            hits.append(float(name in flagged))
            accused.append(len(flagged - {name}) / (len(names) - 1))
            found = worth.fit(used)
            mine = (used["rater"] == name).to_numpy()
            truth = float((used["label"].to_numpy() == right)[mine].mean())
            errors.append(abs(float(found.accuracy[found.raters.index(name)]) - truth))
        told += [
            over_draws(f"{share:.0%} of all labels turned: flagged", hits),
            over_draws(f"{share:.0%} of all labels turned: others flagged", accused),
            over_draws(f"{share:.0%} of all labels turned: error of accuracy (worth)", errors),
        ]
    return told


def report(data: Path, replicates: int) -> dict[str, list[Told]]:
    """All tables of these labels."""
    votes = read(data)
    return {
        "HateCheck: accuracy of raters, without and by gold": against_gold(votes),
        f"HateCheck: one person changes, {replicates} draws": turned(votes, replicates),
        f"HateCheck: one person is poor from the start, {replicates} draws": from_the_start(
            votes, replicates
        ),
    }
