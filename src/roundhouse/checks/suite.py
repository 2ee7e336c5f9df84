"""The expectations, and one careful way to run them.

Great Expectations has three traps that this module closes: an expectation that raises, or whose
column is missing, fails without naming a row (here: the whole batch fails); an empty batch passes
nearly everything (here: rows are counted first); and it sends analytics unless told not to before
it is imported.
"""

import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from roundhouse.checks.frame import COLUMNS
from roundhouse.rows import KINDS
from roundhouse.settings import ValidateSettings

#: 2000-01-01: an older time is a broken clock, not feedback on a language model.
EARLIEST = 946684800.0
#: Fewer comparisons say nothing about balance: 30 fair coins stay within a quarter of one half.
BALANCE_ROWS = 30
#: With fewer raters a large share of one is no surprise.
SHARE_RATERS = 5


class Outcome(NamedTuple):
    """One expectation's result.

    check: the name a person reads; rows: labels of the failing rows, or None where the expectation
    failed as a whole; failing: their number; observed: of a batch figure.
    """

    check: str
    expectation: str
    limits: dict[str, Any]
    success: bool
    rows: list[int] | None
    failing: int
    observed: float | None


def load() -> Any:
    """Great Expectations, quiet. It takes about two seconds, so only a run imports it."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        # Its own imports use modules that Python 3.11 deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations  # noqa: PLC0415 - two seconds

    return great_expectations


def row_checks(settings: ValidateSettings, at: float | None) -> list[Any]:
    """Expectations on the whole table, in the order in which the first failing one names a row.

    Args:
        at: when the round was snapshot (seconds since 1970); None leaves the future unchecked, as
            the door has checked it already.
    """
    gx = load().expectations
    latest = None if at is None else at + settings.max_ahead_seconds
    longest = settings.max_characters
    return [
        _named("columns", gx.ExpectTableColumnsToMatchSet, column_set=list(COLUMNS)),
        _named("kind", gx.ExpectColumnValuesToNotBeNull, column="kind"),
        _named("kind", gx.ExpectColumnValuesToBeInSet, column="kind", value_set=list(KINDS)),
        _never("known-fields", "unknown_fields", ""),
        _named("id-unique", gx.ExpectColumnValuesToNotBeNull, column="id"),
        _named("id-unique", gx.ExpectColumnValuesToBeUnique, column="id"),
        _named("rater", gx.ExpectColumnValuesToNotBeNull, column="rater"),
        _named("prompt", gx.ExpectColumnValuesToNotBeNull, column="prompt_length"),
        _named("answers", gx.ExpectColumnValuesToNotBeNull, column="a_length"),
        *(
            _named("answers", gx.ExpectColumnValuesToNotBeNull, column="b_length", of=kind)
            for kind in ("comparison", "correction")
        ),
        _named("judgement", gx.ExpectColumnValuesToNotBeNull, column="choice", of="comparison"),
        _named("judgement", gx.ExpectColumnValuesToNotBeNull, column="reason", of="flag"),
        *(
            _named("judgement", gx.ExpectColumnValuesToNotBeNull, column=column, of="rating")
            for column in ("score", "low", "high")
        ),
        _named(
            "choice-value", gx.ExpectColumnValuesToBeInSet, column="choice",
            value_set=["0", "1", "tie"],
        ),
        *(
            _named(
                "score-in-scale", gx.ExpectColumnPairValuesAToBeGreaterThanB, column_A=above,
                column_B=below, or_equal=True, ignore_row_if="either_value_is_missing",
            )
            for above, below in (("score", "low"), ("high", "score"))
        ),
        *(
            _named(
                "text-length", gx.ExpectColumnValuesToBeBetween, column=column, min_value=1,
                max_value=longest,
            )
            for column in ("prompt_length", "a_length", "b_length")
        ),
        _never("answers-differ", "identical"),
        _named("time", gx.ExpectColumnValuesToNotBeNull, column="at"),
        _named(
            "time", gx.ExpectColumnValuesToBeBetween, column="at", min_value=EARLIEST,
            max_value=latest,
        ),
        _never("superseded", "superseded"),
        _never("duplicate", "duplicate"),
        _never("one-side", "other_side"),
    ]  # fmt: skip


def usable_checks() -> list[Any]:
    """Expectations on all usable rows of all partitions."""
    return [_named("rows", load().expectations.ExpectTableRowCountToBeBetween, min_value=1)]


def share_checks(settings: ValidateSettings) -> list[Any]:
    """Expectations on the newest partition with its mark `excluded`."""
    gx = load().expectations
    return [
        _named(
            "excluded-share", gx.ExpectColumnMeanToBeBetween, column="excluded",
            max_value=settings.max_excluded_share,
        )
    ]  # fmt: skip


def batch_checks(settings: ValidateSettings, usable: pd.DataFrame) -> list[Any]:
    """Expectations on the usable rows of the newest partition, with each row's `rater_share`.

    What so few rows cannot show is not judged.
    """
    gx = load().expectations
    found = [_named("min-rows", gx.ExpectTableRowCountToBeBetween, min_value=settings.min_rows)]
    if usable["chose_first"].count() >= BALANCE_ROWS:
        middle, most = 0.5, settings.choice_balance
        found.append(
            _named(
                "choice-balance", gx.ExpectColumnMeanToBeBetween, column="chose_first",
                min_value=middle - most, max_value=middle + most,
            )
        )  # fmt: skip
    if usable["rater"].nunique() >= SHARE_RATERS:
        found.append(
            _named(
                "rater-share", gx.ExpectColumnMaxToBeBetween, column="rater_share",
                max_value=settings.max_rater_share,
            )
        )  # fmt: skip
    return found


def check(table: pd.DataFrame, expectations: Sequence[Any]) -> list[Outcome]:
    """Runs expectations on a table whose index is 0, 1, 2, ..., and keeps their order."""
    assert isinstance(table.index, pd.RangeIndex), "failing rows are found by their label"
    gx = load()
    for order, one in enumerate(expectations):
        one.meta = {**one.meta, "order": order}
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    suite = context.suites.add(gx.ExpectationSuite(name="rows", expectations=list(expectations)))
    definition = gx.ValidationDefinition(
        name="rows", data=source.add_batch_definition_whole_dataframe("rows"), suite=suite
    )
    result = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table}, result_format="COMPLETE"
    )
    # Results come in the order of evaluation, not of the suite.
    found = sorted(result.results, key=lambda one: int(one.expectation_config.meta["order"]))
    return [_outcome(one) for one in found]


def _named(check: str, kind: Any, of: str | None = None, **limits: Any) -> Any:
    """An expectation with the check's name; `of` keeps it to rows of one kind."""
    if of is not None:
        limits["row_condition"] = load().expectations.row_conditions.Column("kind") == of
    return kind(**limits, meta={"check": check, "of": of})


def _never(check: str, mark: str, clear: str | bool = False) -> Any:
    """The expectation that a mark of the table is set on no row."""
    kind = load().expectations.ExpectColumnValuesToBeInSet
    return _named(check, kind, column=mark, value_set=[clear])


def _outcome(result: Any) -> Outcome:
    config = result.expectation_config
    rows = result.result.get("unexpected_index_list")
    limits = {
        name: value
        for name, value in config.kwargs.items()
        if name not in ("batch_id", "row_condition", "condition_parser")
    }
    if config.meta["of"] is not None:
        limits["kind"] = config.meta["of"]
    observed = result.result.get("observed_value")
    return Outcome(
        check=config.meta["check"],
        expectation=config.type,
        limits=limits,
        success=bool(result.success),
        rows=None if not rows else sorted(int(label) for label in rows),
        failing=int(result.result.get("unexpected_count") or 0),
        observed=float(observed) if isinstance(observed, int | float) else None,
    )
