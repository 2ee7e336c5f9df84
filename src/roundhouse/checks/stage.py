"""The validate stage: which rows a round may use, and whether it may go on at all."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from roundhouse import jsonl
from roundhouse.checks.frame import frame
from roundhouse.checks.suite import (
    Outcome,
    batch_checks,
    check,
    row_checks,
    share_checks,
    usable_checks,
)
from roundhouse.errors import Blocked
from roundhouse.raters.table import seconds_of
from roundhouse.settings import SplitSettings, ValidateSettings


def run(
    data: Path,
    out: Path,
    settings: ValidateSettings,
    split: SplitSettings,
    inputs: Mapping[str, Any],
) -> None:
    """Checks all partitions; writes report.json, excluded.jsonl and figures.json.

    Args:
        data: folder of partitions, `0001.jsonl` and on.
        inputs: inputs.json; optionally `at` (ISO time of the snapshot) and `accepted` (names of
            batch checks that a person signed).

    Raises:
        Blocked: a batch check failed that nobody accepted. All files are written before.
    """
    partitions = {int(path.stem): jsonl.read(path) for path in sorted(data.glob("*.jsonl"))}
    table = frame(partitions, split)
    at = seconds_of(inputs["at"]) if inputs.get("at") else None
    rows = check(table, row_checks(settings, at))
    excluded = _excluded(rows, len(table))
    table = table.assign(excluded=excluded.notna())
    newest = table[table["partition"] == max(partitions, default=0)]
    usable = table[~table["excluded"]].reset_index(drop=True)
    batch = [*check(usable, usable_checks()), *_newest_checks(newest, settings)]
    blocked = judge(rows, batch, inputs.get("accepted") or ())
    jsonl.write(out / "excluded.jsonl", _lines(table, excluded))
    jsonl.write_json(out / "figures.json", _figures(table, newest, excluded))
    jsonl.write_json(out / "report.json", _report(rows, batch, blocked))
    if blocked is not None:
        raise blocked


def _newest_checks(newest: pd.DataFrame, settings: ValidateSettings) -> list[Outcome]:
    usable = newest[~newest["excluded"]].reset_index(drop=True)
    share = usable.groupby("rater")["rater"].transform("size") / max(1, len(usable))
    usable = usable.assign(rater_share=share)
    found = check(usable, batch_checks(settings, usable))
    # A row that its own author replaced is no defect of the partition.
    counted = newest[~newest["superseded"]].reset_index(drop=True)
    if len(counted):
        marked = counted.assign(excluded=counted["excluded"].astype(float))
        found += check(marked, share_checks(settings))
    return found


def _excluded(outcomes: Sequence[Outcome], size: int) -> pd.Series:
    """[rows] the first check that a row fails, or nothing."""
    names = pd.Series([None] * size, dtype=object)
    for one in reversed(outcomes):
        if not one.success and one.rows is not None:
            names.iloc[one.rows] = one.check
    return names


def judge(
    rows: Sequence[Outcome], batch: Sequence[Outcome], accepted: Collection[str]
) -> Blocked | None:
    """The error that stops the round, or nothing.

    A row check that failed without naming rows could not look at them, so it fails the batch.
    """
    failed = [one for one in rows if not one.success and one.rows is None]
    failed += [one for one in batch if not one.success]
    failed = [one for one in failed if one.check not in accepted]
    if not failed:
        return None
    first = failed[0]
    more = sorted({one.check for one in failed} - {first.check})
    message = f"check {first.check} failed: {_words(first)}"
    if more:
        message += f"; also {', '.join(more)}"
    return Blocked(first.check, message)


#: What a check of the batch looks at.
_MEASURED = {
    "min-rows": "usable rows",
    "excluded-share": "share of rows that were excluded",
    "choice-balance": "share of comparisons that the first answer won (an export that always "
    "lists the winner first has to say in `position` where it stood)",
    "rater-share": "largest share of rows from one rater",
}


def _words(outcome: Outcome) -> str:
    limits = ", ".join(
        f"{name} {value}"
        for name, value in sorted(outcome.limits.items())
        if name in ("min_value", "max_value")
    )
    if outcome.observed is None:
        return f"{outcome.expectation} could not be computed"
    what = _MEASURED.get(outcome.check, "measured")
    return (
        f"{what}: {outcome.observed:g} in the newest partition, "
        f"allowed: {limits.replace('_value', '')}"
    )


def _lines(table: pd.DataFrame, excluded: pd.Series) -> list[dict[str, Any]]:
    chosen = excluded.notna()
    columns = (table.loc[chosen, "id"], table.loc[chosen, "partition"], excluded[chosen])
    return [
        {"id": row, "partition": int(partition), "check": name}
        for row, partition, name in zip(*columns, strict=True)
    ]


def _figures(
    table: pd.DataFrame, newest: pd.DataFrame, excluded: pd.Series
) -> dict[str, float | int]:
    usable = newest[~newest["excluded"]]
    figures: dict[str, float | int] = {
        "validate/rows": len(table),
        "validate/usable": int((~table["excluded"]).sum()),
        "validate/excluded": int(table["excluded"].sum()),
        "validate/newest_rows": len(newest),
        "validate/newest_usable": len(usable),
        "validate/raters": int(table["rater"].nunique()),
    }
    for name, count in excluded.value_counts().sort_index().items():
        figures[f"validate/excluded/{name}"] = int(count)
    if usable["chose_first"].count():
        figures["validate/choice_first"] = float(usable["chose_first"].mean())
    if len(usable):
        largest = usable["rater"].value_counts(normalize=True).iloc[0]
        figures["validate/largest_rater"] = float(largest)
    return figures


def _report(
    rows: Sequence[Outcome], batch: Sequence[Outcome], blocked: Blocked | None
) -> dict[str, Any]:
    """The result as plain data. It names no row and quotes no value: it outlives people's rows."""
    return {
        "blocked": None if blocked is None else {"check": blocked.check, "message": str(blocked)},
        "expectations": [
            {
                "check": one.check,
                "expectation": one.expectation,
                "limits": one.limits,
                "success": one.success,
                "failing_rows": one.failing,
                "observed": one.observed,
            }
            for one in [*rows, *batch]
        ],
        "success": all(one.success for one in [*rows, *batch]),
    }
