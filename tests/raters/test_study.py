"""A small part of the study and of the report on real people; both at large are in docs/."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.raters import change, debates, poorest, regions, sentences, spam, study
from benchmarks.raters.case import Case, Figure, share
from benchmarks.raters.told import Told, over_draws, over_groups
from roundhouse.simulate.votes import Pool


def figures(found: list[Figure]) -> dict[str, Figure]:
    return {one.what: one for one in found}


def test_a_rater_who_flips_is_found_and_nobody_else() -> None:
    found = figures(change.single(12, 1, flips=0.3, power=">= 0.80"))
    assert found["power, p < 0.015"].met
    assert found["false alarms a rater, p < 0.015"].value <= 0.03


def test_harder_items_accuse_neither_a_rater_nor_the_pool() -> None:
    harder = {2: 0.5}
    found = figures(change.single(5, 1, harder=harder))
    assert found["false alarms a rater, p < 0.015"].value <= 0.03
    pool = figures(change.pooled(10, 1, harder=harder))
    assert pool["verdict: raters changed"].value <= 0.1
    assert pool["verdict: items got harder"].value >= 0.5


def test_a_pool_that_flips_is_told_by_its_anchors() -> None:
    found = figures(change.pooled(10, 1, flips=0.1))
    assert found["verdict: raters changed"].value >= 0.6


def test_spammers_are_found_and_others_are_not() -> None:
    for kind in spam.AIMS:
        found = figures(spam.spammers(Pool(), kind, 5)(1, 1))
        assert found["found"].value >= 0.5
        assert found["honest accused"].value <= 0.05


def test_a_missing_region_is_named() -> None:
    case = next(one for one in regions.CASES if one.name.endswith("one of 4 missing"))
    assert case.run(10, 1)[0] == Figure("it is named missing", 1.0, 0.0, ">= 1.00")


def test_the_poorest_data_say_nothing() -> None:
    found = poorest.silent(1, 1)
    assert len(found) == 7
    assert all(one.met for one in found)


def test_a_study_goes_on_where_it_stood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = []

    def run(replicates: int, seed: int) -> list[Figure]:
        ran.append((replicates, seed))
        return [share("hits", [0.0, 1.0], ">= 0.9"), Figure("plain", 2.0, math.nan)]

    file = tmp_path / "study.json"
    cases = [Case("one", run), Case("other", run, 0.5)]
    study.study(cases[:1], 10, 3, file)
    found = study.study(cases, 10, 3, file)
    assert ran == [(10, 3), (5, 3)]
    assert json.loads(file.read_text("utf-8")).keys() == found.keys() == {"one", "other"}
    assert "| one | 10 | hits | 0.5000 (0.5000) | >= 0.9 | **no** |" in capsys.readouterr().out
    study.study(cases[:1], 20, 3, file)
    assert ran[2:] == [(20, 3)]


@pytest.mark.parametrize(
    ("aim", "met"), [("", None), (">= 0.5", True), ("< 0.5", False), ("0", False), ("0.5", True)]
)
def test_an_aim_is_met_or_not(aim: str, met: bool | None) -> None:
    assert Figure("share", 0.5, 0.1, aim).met is met


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in study.cases()]
    assert len(set(names)) == len(names) > 60
    assert study.cases("no such case") == []


def test_a_case_is_found_however_its_name_is_written() -> None:
    names = [case.name for case in study.cases("A RATER FLIPS 30%")]
    assert names == [case.name for case in study.cases("a rater flips 30 %")]
    assert {"a rater flips 30 %", "verdicts: a rater flips 30%, 12 raters"} <= set(names)


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["study", *words])
    study.main()


def test_a_name_that_no_case_has_prints_all_one_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stopped:
        called(monkeypatch, "--case", "nonsense")
    first, *names = str(stopped.value).splitlines()
    assert "no case has 'nonsense'" in first
    assert [name.strip() for name in names] == [case.name for case in study.cases()]


@pytest.mark.parametrize("size", ["0", "-4", "2.5", "some"])
def test_a_study_of_no_replicates_is_refused(
    size: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        called(monkeypatch, "--case", "nobody", f"--replicates={size}")
    assert stopped.value.code == 2
    assert f"{size!r} is no whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "there is no folder"),
        ('{"nobody changes": {"figu', "cannot be read"),
        ("[1]", "is not the file of a study"),
        ('{"one": [1]}', "is not the file of a study"),
    ],
)
def test_a_file_that_cannot_be_kept_is_told_before_anything_runs(
    text: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.json" if text else tmp_path / "none" / "study.json"
    if text:
        file.write_text(text, "utf-8")
    ran = []

    def run(replicates: int, seed: int) -> list[Figure]:
        ran.append((replicates, seed))
        return []

    with pytest.raises(SystemExit) as stopped:
        study.study([Case("one", run)], 2, 1, file)
    assert told in str(stopped.value)
    assert "\n" not in str(stopped.value)
    assert not ran
    assert not capsys.readouterr().out
    assert not text or file.read_text("utf-8") == text


def test_intervals_over_groups_are_wider_where_groups_differ() -> None:
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(12), 50)
    alone = rng.normal(size=600)
    apart = alone + rng.normal(size=12)[group]
    even, uneven = over_groups("", alone, group), over_groups("", apart, group)
    assert even.high - even.low == pytest.approx(4 * 600**-0.5, rel=0.5)
    assert uneven.high - uneven.low > 2 * (even.high - even.low)
    assert over_draws("mean", [1.0, 2.0, 3.0]).line() == "| mean | 2.0000 (0.5774) |"
    assert Told("votes", 70_668).line() == "| votes | 70,668 |"


@pytest.mark.shared
def test_the_debates_as_they_are_and_shuffled(shared: Path) -> None:
    votes, items, published = debates.read(shared / "data")
    assert (len(votes), len(items), len(published)) == (70_668, 14_165, 3_795)
    assert votes["at"].is_monotonic_increasing
    assert 1.4e9 < votes["at"].iloc[0] < 1.5e9
    mixed = debates.shuffled(votes, 1)
    for column in ("at", "round"):
        before, after = (one.groupby("rater")[column].sum() for one in (votes, mixed))
        assert np.allclose(before, after)
    kept = [one.sort_values(["rater", "item", "label"]) for one in (votes, mixed)]
    assert (kept[0][["rater", "item"]].to_numpy() == kept[1][["rater", "item"]].to_numpy()).all()
    assert (kept[0]["round"].to_numpy() != kept[1]["round"].to_numpy()).mean() > 0.2
    found, tested = debates.flags(mixed)
    assert tested > 100
    assert found[0] <= 0.06 * tested
    assert debates.known_of_the_pool(votes) == "cannot tell"


@pytest.mark.shared
def test_sentences_whose_rater_turns_half(shared: Path) -> None:
    votes = sentences.read(shared / "data")
    assert len(votes) == 5 * 3901
    right = (votes["label"] == votes["gold"]).groupby(votes["rater"]).mean()
    assert len(right) == 10
    assert right.min() > 0.94
    told = sentences._turned(votes, "here", (800, 0.15, 0.5), 1)
    found = {one.what: one.value for one in told}
    assert found["here: found, q < 0.05"] == 1.0
    assert found["here: others accused, q < 0.05"] < 0.1
