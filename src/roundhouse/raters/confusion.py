"""Votes against what most of the item's other raters say."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters.table import LABELS, TIE, latest

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Compared(NamedTuple):
    """The votes that can be compared: those on items where one label leads among the others.

    rows: the table of them; label: [votes] what was voted; others: [votes] the label that leads;
    shown: whether labels are by place on the rater's screen, 0 the answer shown first.
    """

    rows: pd.DataFrame
    label: Ints
    others: Ints
    shown: bool

    def table(self, chosen: Bools | None = None) -> Ints:
        """[what the others say, what was voted] numbers of votes, of the chosen ones or of all."""
        cell = self.others * LABELS + self.label
        cell = cell if chosen is None else cell[chosen]
        counts = np.bincount(cell, minlength=LABELS * LABELS)
        return np.asarray(counts.reshape(LABELS, LABELS), np.int64)


def compare(votes: pd.DataFrame) -> Compared:
    """Every vote beside the others'; of a rater's votes on an item the last one counts.

    Where most votes tell which answer stood first, labels are by place, and votes that do not tell
    are left out. Else they are the item's first and second answer, an order that means nothing.

    >>> one = pd.DataFrame({"item": 0, "rater": list("abc"), "label": [0, 0, 1], "position": -1})
    >>> compare(one).table().tolist()  # without a or b the others are divided
    [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    """
    votes = latest(votes)
    label = votes["label"].to_numpy(np.int64)
    position = votes["position"].to_numpy(np.int64)
    others, clear = _leading(pd.factorize(votes["item"])[0].astype(np.int64), label)
    shown = bool(len(votes)) and bool((position >= 0).mean() > 0.5)
    if shown:
        clear &= position >= 0
        label, others = _placed(label, position), _placed(others, position)
    return Compared(votes[clear], label[clear], others[clear], shown)


def _leading(item: Ints, label: Ints) -> tuple[Ints, Bools]:
    """[votes] the label that the item's other raters gave most often, and whether just one is."""
    size = int(item.max()) + 1 if len(item) else 0
    counts = np.bincount(item * LABELS + label, minlength=size * LABELS).reshape(size, LABELS)
    others = counts[item]
    others[np.arange(len(label)), label] -= 1
    ordered = np.sort(others, axis=1)
    return others.argmax(axis=1), ordered[:, -1] > ordered[:, -2]


def _placed(label: Ints, position: Ints) -> Ints:
    return np.where(label == TIE, TIE, (label != position).astype(np.int64))
