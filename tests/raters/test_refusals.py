"""What every function on votes refuses: one line that says what to mend, no error from inside."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from roundhouse.errors import DataError
from roundhouse.raters import agreement, anchors, breakdown, cusum, drift, reliability, spam, worth
from roundhouse.raters.table import TIE
from roundhouse.simulate.votes import Pool, draw
from tests.raters.conftest import Simulate

VOTES = draw(Pool(raters=6, votes=60), 2, 1).votes
BARE = ("item", "rater", "label")


def halves(votes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(votes of the second round, votes of the first)."""
    now = (VOTES["round"] == 2).to_numpy()
    return votes[now], votes[~now]


#: Each function on a table, and the columns that it needs.
FUNCTIONS: dict[str, tuple[Callable[[pd.DataFrame], object], tuple[str, ...]]] = {
    "worth.fit": (worth.fit, BARE),
    "dawid_skene": (reliability.dawid_skene, BARE),
    "breakdown.whole": (lambda votes: breakdown.whole(votes, 9, 0.9, 1), BARE),
    "breakdown.by": (lambda votes: breakdown.by(votes, "region", 9, 0.9, 1), (*BARE, "region")),
    "spam.findings": (lambda votes: spam.findings(votes, draws=9), (*BARE, "gold")),
    "spam.skill": (spam.skill, BARE),
    "drift.drifts": (lambda votes: drift.drifts(*halves(votes)), (*BARE, "round", "gold")),
    "cusum.paths": (lambda votes: cusum.paths(*halves(votes)), (*BARE, "round", "gold", "at")),
    "anchors.pool_change": (
        lambda votes: anchors.pool_change(*halves(votes)),
        (*BARE, "gold", "anchor"),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_columns_that_are_needed_are_enough_and_each_is_missed(name: str) -> None:
    function, columns = FUNCTIONS[name]
    votes = VOTES[list(columns)]
    function(votes)
    for column in columns:
        with pytest.raises(DataError, match=f"no column {column}; "):
            function(votes.drop(columns=column))


def test_text_in_place_of_numbers_is_refused_where_nobody_tidied() -> None:
    for column in ("gold", "at"):
        with pytest.raises(DataError, match=f"column {column} has no numbers"):
            spam.findings(VOTES.assign(**{column: "soon"}))
    with pytest.raises(DataError, match="column at has no numbers"):
        cusum.paths(*halves(VOTES.assign(at="soon")))


def test_a_column_that_is_none_of_the_table_is_named_with_those_it_has() -> None:
    with pytest.raises(DataError, match="no column colour; it has item, rater, label"):
        breakdown.by(VOTES[list(BARE)], "colour", 9, 0.9, 1)


def test_labels_beyond_those_known_are_refused(simulate: Simulate) -> None:
    votes = simulate(30, 3, np.full(4, 0.8), 1, labels=4).votes
    for function in (
        worth.fit,
        lambda votes: reliability.dawid_skene(votes, labels=2),
        lambda votes: agreement.from_table(votes, labels=2),
        lambda votes: breakdown.whole(votes, 9, 0.9, 1, labels=2),
    ):
        with pytest.raises(DataError, match=r"labels go from 0 to 3, but here [23] are known"):
            function(votes)
    reliability.dawid_skene(votes[votes["label"] < TIE], labels=2)


def test_no_votes_have_no_worth() -> None:
    with pytest.raises(DataError, match=r"no votes; worth\.fit needs one or more"):
        worth.fit(VOTES[:0])


@pytest.mark.parametrize("confidence", [95, 1.0, 0.0, -0.5, float("nan")])
def test_a_confidence_is_a_share(confidence: float) -> None:
    two = VOTES[VOTES["label"] < TIE]
    for function in (
        lambda: breakdown.whole(VOTES, 9, confidence, 1),
        lambda: worth.fit(VOTES).interval(confidence),
        lambda: reliability.dawid_skene(two).interval(confidence),
        lambda: drift.drifts(*halves(VOTES), confidence=confidence),
        lambda: anchors.pool_change(*halves(VOTES), confidence=confidence),
    ):
        with pytest.raises(DataError, match=r"give a share between 0 and 1, such as 0\.95"):
            function()


def test_an_interval_needs_draws() -> None:
    for draws in (0, -1):
        with pytest.raises(DataError, match=f"draws={draws}: an interval needs 1 draw or more"):
            breakdown.whole(VOTES, draws, 0.9, 1)
