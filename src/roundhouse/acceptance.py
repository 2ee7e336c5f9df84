"""The checks that a person may accept with `roundhouse round --accept CHECK --why TEXT`.

Named here in one place, so that a misspelt name is refused before a round starts instead of lying
in the record of a round that it did nothing for.
"""

from collections.abc import Iterable

from roundhouse.errors import UsageError

#: Of the stage validate, about the newest partition (`checks/suite.py`).
BATCH = ("rows", "min-rows", "excluded-share", "choice-balance", "rater-share")
#: Of the same stage, about rows; they block only where the check could not be made at all.
ROWS = (
    *("columns", "kind", "known-fields", "id-unique", "rater", "prompt", "answers", "judgement"),
    *("choice-value", "score-in-scale", "text-length", "answers-differ", "time", "superseded"),
    *("duplicate", "one-side"),
)
#: Of the stage raters (`raters/verdict.py`), and of the gate (`gate.OVERRULABLE`).
LATER = ("agreement-drop", "safety")
ACCEPTABLE = (*BATCH, *ROWS, *LATER)


def require(checks: Iterable[str]) -> None:
    """Refuses names that no check has.

    Raises:
        UsageError: names the first one, and those there are.
    """
    for check in checks:
        if check not in ACCEPTABLE:
            raise UsageError(
                f"--accept {check}: no check that a person can accept has this name; there are "
                f"{', '.join((*LATER, *BATCH))}, and the row checks of the stage validate"
            )
