"""The names that --accept takes are those that the checks have."""

import pandas as pd
import pytest

from roundhouse import acceptance, gate
from roundhouse.checks import suite
from roundhouse.errors import UsageError
from roundhouse.raters.alarm import AGREEMENT_DROP
from tests.raters.conftest import PARAMS


def test_every_check_that_can_block_can_be_accepted() -> None:
    limits = PARAMS.validation
    many = pd.DataFrame({"chose_first": [1.0] * 40, "rater": [f"r{n}" for n in range(40)]})
    rows = {one.meta["check"] for one in suite.row_checks(limits, None)}
    batch = [*suite.usable_checks(), *suite.share_checks(limits), *suite.batch_checks(limits, many)]
    assert rows == set(acceptance.ROWS)
    assert {one.meta["check"] for one in batch} == set(acceptance.BATCH)
    assert {AGREEMENT_DROP, *gate.OVERRULABLE} == set(acceptance.LATER)


@pytest.mark.parametrize("name", ["saftey", "kl", "win-rate", "", "all"])
def test_a_name_that_no_check_has_is_refused_with_those_there_are(name: str) -> None:
    acceptance.require(["safety", "min-rows"])
    with pytest.raises(UsageError, match=f"--accept {name}: .*agreement-drop, safety") as refused:
        acceptance.require(["safety", name])
    assert "\n" not in str(refused.value)
