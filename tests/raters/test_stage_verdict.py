"""What a round says of its raters: simulated votes as canonical rows, through the stage's files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from roundhouse import jsonl
from roundhouse.errors import Blocked
from roundhouse.raters import stage, table
from roundhouse.raters.alarm import AGREEMENT_DROP
from roundhouse.settings import RaterSettings, SplitSettings
from roundhouse.simulate.votes import Fault, Pool, draw

#: A small pool that meets often enough to be judged.
POOL = Pool(raters=14, votes=90, overlap=0.6, gold=12, anchors=30, bank=60)


class Told(NamedTuple):
    """verdict.json, raters.json by rater, figures.json and pairs.jsonl."""

    verdict: dict[str, Any]
    raters: dict[str, dict[str, Any]]
    figures: dict[str, float]
    pairs: list[dict[str, Any]]

    def evidence(self, rater: str, number: int) -> str:
        """A rater's evidence of a round, as one text."""
        [epoch] = [one for one in self.raters[rater]["rounds"] if one["round"] == number]
        return "; ".join(epoch["evidence"])


def rows(votes: pd.DataFrame, drop: Sequence[str] = (), **fields: Any) -> list[dict[str, Any]]:
    """Canonical comparisons; the second answer is the longer one of every third item."""
    found = []
    for place, vote in enumerate(votes.to_dict("records")):
        item = vote["item"]
        row = {
            "id": f"{vote['round']}-{place}", "kind": "comparison", "prompt": f"Question {item}",
            "responses": [f"one {item}", f"two {item}{' at length' * (item % 3 == 0)}"],
            "choice": int(vote["label"]), "rater": vote["rater"],
            "created_at": table.moment(vote["at"]), "region": vote["region"],
            "position": int(vote["position"]), "seconds": float(vote["seconds"]),
            "guideline": vote["guideline"],
            **({"gold": int(vote["gold"])} if vote["gold"] >= 0 else {}),
            **({"anchor": True} if vote["anchor"] else {}), **fields,
        }  # fmt: skip
        found.append({key: value for key, value in row.items() if key not in drop})
    return found


class Run(NamedTuple):
    """Writes rows by round and runs the stage on them."""

    root: Path
    settings: RaterSettings
    split: SplitSettings

    def __call__(
        self, votes: pd.DataFrame, drop: Sequence[str] = (), accepted: Sequence[str] = ()
    ) -> Told:
        for number, part in votes.groupby("round"):
            jsonl.write(self.root / f"data/{number:04}.jsonl", rows(part, drop))
        jsonl.write(self.root / "validate/excluded.jsonl", [])
        inputs = {"round": 2, "seed": 17, "accepted": accepted}
        data, validated, out = (self.root / name for name in ("data", "validate", "out"))
        stage.run(data, validated, out, self.settings, self.split, inputs)
        return self.told()

    def told(self) -> Told:
        out = self.root / "out"
        raters = {one["rater"]: one for one in jsonl.read_json(out / "raters.json")}
        verdict, figures = (jsonl.read_json(out / f"{one}.json") for one in ("verdict", "figures"))
        return Told(verdict, raters, figures, list(jsonl.read(out / "pairs.jsonl")))

    def with_settings(self, **settings: Any) -> "Run":
        return self._replace(settings=self.settings.model_copy(update=settings))


@pytest.fixture
def run(tmp_path: Path, rater_settings: RaterSettings, split: SplitSettings) -> Run:
    return Run(tmp_path, rater_settings, split)


def test_a_changed_pool_alarms_with_its_cause_and_figures(run: Run) -> None:
    votes = draw(POOL, 2, 1, [Fault(range(POOL.raters), "flip", 0.25, since=2)]).votes
    strict = run.with_settings(block_on_alarm=True)
    with pytest.raises(Blocked, match="the raters changed"):
        strict(votes)
    told = run.told()
    assert told.verdict["state"] == "block" and told.verdict["cause"] == "raters changed"
    assert "the raters changed: on " in told.verdict["message"]
    figures = told.figures
    assert figures["raters/pool_change_low"] < 0.25 < figures["raters/pool_change_high"]
    assert figures["raters/pool_change"] == told.verdict["figures"]["flipped"] > 0.1
    assert figures["raters/alarm"] == 1
    assert strict(votes, accepted=[AGREEMENT_DROP]).verdict["state"] == "warn"


def test_harder_items_are_a_note_and_block_nothing(run: Run) -> None:
    told = run.with_settings(block_on_alarm=True)(draw(POOL, 2, 2, harder={2: 0.3}).votes)
    assert told.figures["raters/alpha_change"] < -0.1
    assert told.verdict["state"] == "ok" and told.figures["raters/alarm"] == 0
    assert told.verdict["cause"] == "items got harder" and told.verdict["message"] == ""
    assert "the items got harder, the raters are as before" in told.verdict["notes"][0]
    assert told.verdict["figures"]["harder_high"] < 1


def test_without_anchors_the_cause_cannot_be_told(run: Run) -> None:
    votes = draw(Pool(14, 150, 0.6, gold=12, anchors=0, bank=60), 2, 3, harder={2: 0.3}).votes
    # Other check items in each round, so that none comes back.
    told = run(votes[(votes["gold"] < 0) | (votes["item"] % 2 == votes["round"] % 2)])
    assert told.verdict["state"] == "warn" and told.verdict["cause"] == "cannot tell"
    assert "no item came back (let each rater vote on 20 anchors" in told.verdict["message"]
    assert "answers to check items are right" in told.verdict["message"]
    assert told.verdict["figures"]["flipped"] is None
    assert "raters/pool_change" not in told.figures
    assert any("No row is an anchor" in note for note in told.verdict["notes"])


def test_a_new_guideline_that_all_follow_accuses_nobody(run: Run) -> None:
    votes = draw(POOL, 2, 4, [Fault(range(POOL.raters), "taste", 0.5, since=2)]).votes
    told = run(votes.assign(guideline=np.where(votes["round"] == 2, "v2", "v1")))
    assert told.verdict["cause"] == "new guideline" and told.verdict["state"] == "ok"
    assert "ith guideline v2 the raters agree as before, on other" in told.verdict["notes"][0]
    assert any("with guideline v2 (after v1)" in note for note in told.verdict["notes"])
    assert {"raters/guideline_change_low", "raters/guideline_change_high"} <= told.figures.keys()
    assert sum(one["state"] != "ok" for one in told.raters.values()) <= 1


def test_habits_reach_a_state_with_counts_and_p(run: Run) -> None:
    """One rater each: the longer answer, haste, the first place, contradictions."""
    votes = draw(POOL, 1, 5).votes
    rng = np.random.default_rng(5)
    who, coin = votes["rater"], rng.random(len(votes))
    longer = votes["item"] % 3 == 0
    label, seconds = votes["label"].to_numpy(), votes["seconds"].to_numpy()
    label = np.where((who == "r000") & longer, 1, label)
    seconds = np.where((who == "r001") & (coin < 0.25), 1.0, seconds)
    label = np.where(who == "r002", votes["position"], label)
    votes = votes.assign(label=label, seconds=seconds)
    again = votes[votes["anchor"]].assign(at=lambda one: one["at"] + 3600)
    turned = (again["rater"] == "r003") & (rng.random(len(again)) < 0.6)
    again = again.assign(label=np.where(turned, 1 - again["label"], again["label"]))
    told = run(pd.concat([votes, again], ignore_index=True))
    for rater, state, words in (
        ("r000", "watch", "the longer answer in 1.00 of "),
        ("r001", "watch", "far below their own pace in 0."),
        ("r002", "suspended", "the answer shown first in 1.00 of "),
        ("r003", "watch", "another answer than before in 0."),
    ):
        assert words in told.evidence(rater, 1), rater
        assert "(p " in told.evidence(rater, 1)
        assert told.raters[rater]["state"] == state, (rater, told.evidence(rater, 1))
    assert {told.raters[f"r{n:03d}"]["state"] for n in range(4, 14)} == {"ok"}


def test_a_change_within_the_round_has_a_date_and_earlier_votes_keep_their_weight(run: Run) -> None:
    pool = Pool(14, 160, overlap=1.0, gold=20, anchors=20, bank=40)
    votes = draw(pool, 2, 6, [Fault([0], "flip", 0.4, since=2, after=0.5)]).votes
    told = run(votes)
    line = told.raters["r000"]
    first, second = line["rounds"]
    assert line["state"] == "watch" and line["since"] == 2
    assert "turns votes since" in told.evidence("r000", 2)
    theirs = votes[(votes["rater"] == "r000") & (votes["round"] == 2)]["at"]
    middle = table.moment(float(theirs.quantile(0.5)))
    early, late = (table.moment(float(theirs.quantile(part))) for part in (0.3, 0.7))
    assert early is not None and late is not None and middle is not None
    assert early < second["changed"] < late
    assert (second["first"], second["last"]) == (
        table.moment(theirs.min()), table.moment(theirs.max()),
    )  # fmt: skip
    assert second["weight_before"] == pytest.approx(2 * second["weight"])
    assert "changed" not in first and first["evidence"] == []


def test_a_missing_region_and_a_taste_of_its_own_are_named(run: Run) -> None:
    pool = Pool(raters=16, votes=120, overlap=1.0, together=4, regions=2)
    votes = draw(pool, 1, 7, [Fault(range(1, 16, 2), "taste", 0.8)]).votes
    population = {"a": 0.3, "b": 0.4, "c": 0.3}
    told = run.with_settings(population=population)(votes)
    [warning] = told.verdict["warnings"]
    assert warning.startswith("Region c is missing: none of 16 raters, 4.8 expected")
    assert warning not in told.verdict["notes"]
    assert any("Region b (8 raters) sees items otherwise" in note for note in told.verdict["notes"])
    same = run.with_settings(population={"a": 0.5, "b": 0.5})(draw(pool, 1, 8).votes)
    assert same.verdict["warnings"] == []
    assert not any("Region" in note for note in same.verdict["notes"])
    # It is the raters of the newest round who stand for it.
    two = draw(pool._replace(votes=60), 2, 8).votes
    left = two[(two["round"] == 1) | (two["rater"].isin([f"r{k:03d}" for k in range(0, 16, 2)]))]
    told = run.with_settings(population={"a": 0.5, "b": 0.5})(left)
    assert [one[:29] for one in told.verdict["warnings"]] == ["Region b is missing: none of 8"[:29]]


def test_newcomers_who_still_learn_are_told_of(run: Run) -> None:
    pool = Pool(raters=24, votes=120, overlap=1.0, together=4, gold=0, anchors=0)
    votes = draw(pool, 2, 9, [Fault(range(16, 24), "random", 0.6, since=2)]).votes
    votes = votes[(votes["round"] == 2) | (votes["rater"] < "r016")]
    told = run(votes)
    assert told.figures["raters/onboarding_gap_high"] < 0
    assert any("New raters still agree less" in note for note in told.verdict["notes"])


def test_the_poorest_data_say_what_cannot_be_known(run: Run) -> None:
    pool = Pool(raters=12, votes=60, overlap=0.0, gold=0, anchors=0)
    told = run(draw(pool, 2, 10).votes, drop=("position", "seconds", "guideline", "region"))
    for start in (
        "No item was seen by two raters", "No row is a check item", "No row is an anchor",
        "No row gives `position`", "No row gives `seconds`",
    ):  # fmt: skip
        assert sum(note.startswith(start) for note in told.verdict["notes"]) == 1, start
    assert {one["accuracy"] for one in told.raters.values()} == {None}
    assert {one["state"] for one in told.raters.values()} == {"ok"}
    assert {one["weight"] for one in told.raters.values()} == {0.5}
    for name in ("accuracy", "agreement", "alpha", "ceiling", "pool_change", "alpha_change"):
        assert f"raters/{name}" not in told.figures
    assert told.verdict["state"] == "ok" and told.verdict["cause"] == "cannot tell"
    assert all(value is None for key, value in told.verdict["figures"].items() if key != "anchors")
