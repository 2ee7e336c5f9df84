"""What the pool's change means: raters or items, alarm or note."""

import math

import numpy as np
import pytest

from roundhouse.raters import alarm
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.alarm import AGREEMENT_DROP, NOTHING, Compared
from roundhouse.raters.anchors import Cause, PoolChange
from roundhouse.settings import RaterSettings
from roundhouse.simulate.votes import Fault, Pool, draw

FALL, CALM = Estimate(-0.2, -0.3, -0.1), Estimate(-0.05, -0.08, -0.02)
CHANGES: dict[Cause, PoolChange] = {
    "raters changed": PoolChange(
        90, "raters changed", Estimate(0.1, 0.05, 0.15), 1e-5, 0.4, Estimate(1.0, 0.8, 1.2), 0.5
    ),
    "items got harder": PoolChange(
        90, "items got harder", Estimate(0.0, -0.05, 0.05), 0.5, 0.4, Estimate(0.4, 0.3, 0.5), 1e-9
    ),
    "neither": PoolChange(
        90, "neither", Estimate(0.0, -0.05, 0.05), 0.5, 0.4, Estimate(0.9, 0.8, 1.1), 0.2
    ),
    "cannot tell": PoolChange(4, "cannot tell", UNKNOWN, math.nan, math.nan, UNKNOWN, math.nan),
}
SHIFT = CHANGES["raters changed"]._replace(p=0.3, p_shift=1e-4)


def found(
    alpha: Estimate, pool: PoolChange, guideline: str = "", gold: float = math.nan
) -> Compared:
    return Compared(alpha, pool, guideline, (gold, gold))


def test_without_anchors_a_sure_and_large_fall_alarms(rater_settings: RaterSettings) -> None:
    blocking = rater_settings.model_copy(update={"block_on_alarm": True})
    fall = found(FALL, CHANGES["cannot tell"], gold=0.9)
    one = alarm.judge_pool(fall, rater_settings, ())
    assert one.state == "warn"
    assert "only 4 of 20 items came back" in one.message and "0.90 before" in one.message
    assert alarm.judge_pool(fall, blocking, ()).state == "block"
    assert alarm.judge_pool(fall, blocking, (AGREEMENT_DROP,)).state == "warn"
    enough = CHANGES["cannot tell"]._replace(anchors=90)
    told = alarm.judge_pool(found(FALL, enough), rater_settings, ()).message
    assert "came back" not in told and "on other items too few votes of two raters meet" in told
    for calm in (CALM, Estimate(-0.2, -0.5, 0.1), Estimate(0.2, 0.1, 0.3), UNKNOWN):
        one = alarm.judge_pool(found(calm, CHANGES["cannot tell"]), blocking, ())
        assert (one.state, one.message) == ("ok", "")


@pytest.mark.parametrize("alpha", [FALL, CALM, UNKNOWN])
def test_changed_raters_alarm_with_or_without_a_fall(
    alpha: Estimate, rater_settings: RaterSettings
) -> None:
    one = alarm.judge_pool(found(alpha, CHANGES["raters changed"]), rater_settings, ())
    assert one.state == "warn" and one.cause == "raters changed"
    assert "as if 10% (5% to 15%) of all votes were turned" in one.message
    assert ("agree less" in one.message) == (alpha == FALL)


def test_harder_items_are_a_note(rater_settings: RaterSettings) -> None:
    one = alarm.judge_pool(found(FALL, CHANGES["items got harder"]), rater_settings, ())
    assert (one.state, one.message) == ("ok", "")
    assert "the items got harder" in one.notes[0] and "0.40 (0.30 to 0.50)" in one.notes[0]
    assert one.figures["harder"] == 0.4


def test_a_fall_that_anchors_do_not_explain_alarms(rater_settings: RaterSettings) -> None:
    one = alarm.judge_pool(found(FALL, CHANGES["neither"]), rater_settings, ())
    assert one.state == "warn" and "neither changed raters nor harder items" in one.message
    assert alarm.judge_pool(found(CALM, CHANGES["neither"]), rater_settings, ()).state == "ok"


def test_a_new_guideline_explains_other_answers_but_no_carelessness(
    rater_settings: RaterSettings,
) -> None:
    guided = alarm.judge_pool(found(CALM, SHIFT, "v3"), rater_settings, ())
    assert (guided.state, guided.cause) == ("ok", "new guideline")
    assert guided.notes[0].startswith("With guideline v3 the raters agree as before")
    less = alarm.judge_pool(found(CALM, CHANGES["raters changed"], "v3"), rater_settings, ())
    assert less.state == "ok" and "and less alike: as if 10% (5% to 15%)" in less.notes[0]
    alone = alarm.judge_pool(found(CALM, SHIFT), rater_settings, ())
    assert alone.state == "warn" and "less with what they said before" in alone.message
    careless = alarm.judge_pool(found(FALL, CHANGES["raters changed"], "v3"), rater_settings, ())
    assert careless.state == "warn" and "together with guideline v3" in careless.message


def test_a_new_guideline_explains_other_answers_on_which_all_agree(
    rater_settings: RaterSettings,
) -> None:
    """Of votes that are unanimous before and now there is no p of noise."""
    unanimous = SHIFT._replace(p=math.nan)
    for alpha in (CALM, FALL):
        guided = alarm.judge_pool(found(alpha, unanimous, "v3"), rater_settings, ())
        assert (guided.state, guided.cause) == ("ok", "new guideline")
        assert "the raters agree as before" in guided.notes[0]
    alone = alarm.judge_pool(found(CALM, unanimous), rater_settings, ())
    assert alone.state == "warn" and "p 0.0001" in alone.message
    assert alone.figures["p"] is None


def test_a_guideline_is_new_where_nearly_all_changed_to_it(rater_settings: RaterSettings) -> None:
    votes = draw(Pool(raters=8, votes=40), 2, 1).votes
    late = votes["round"] == 2
    few = late & (votes.index % 2 == 0)
    for new, version in ((late, "v2"), (few, "")):
        guided = votes.assign(guideline=new.map({True: "v2", False: "v1"}))
        assert alarm.compare(guided, rater_settings, 1).guideline == version
    # Stragglers who vote by the old one after the first did by the new one.
    straggling = np.where(late & (np.arange(len(votes)) % 25 > 0), "v2", "v1")
    assert alarm.compare(votes.assign(guideline=straggling), rater_settings, 1).guideline == "v2"
    for then, now in (("v1", ""), ("", "v1"), ("", "")):
        stated = votes.assign(guideline=np.where(late, now, then))
        assert alarm.compare(stated, rater_settings, 1).guideline == ""
    assert alarm.compare(votes[~late], rater_settings, 1) == NOTHING


def test_the_pool_is_judged_by_its_last_two_rounds(rater_settings: RaterSettings) -> None:
    """A change two rounds ago was told of then."""
    pool = Pool(raters=20, votes=60, overlap=0.6)
    faults = [Fault(range(20), "flip", 0.3, since=2)]
    votes = draw(pool, 3, 2, faults).votes
    second = alarm.compare(votes[votes["round"] < 3], rater_settings, 1)
    third = alarm.compare(votes, rater_settings, 1)
    assert second.pool.cause == "raters changed" and third.pool.cause != "raters changed"
