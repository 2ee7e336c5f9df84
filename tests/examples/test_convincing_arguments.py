"""The example on real votes: what a line of the source becomes, what the report says of items."""

import gzip
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from examples.convincing_arguments import convert, report, run
from roundhouse import feedback, params

FOLDER = Path(convert.__file__).parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _vote(pair: str, rater: str, value: str, minute: int, reason: str = "") -> dict[str, str]:
    return {
        "topic": "tv-is-better-than-books_tv",
        "pair_id": pair,
        "rater": rater,
        "accept_time": f"2016-02-01T20:{minute:02d}:00Z",
        "submit_time": f"2016-02-01T20:{minute + 2:02d}:00Z",
        "value": value,
        "rater_stance": "same",
        "mace_competence": "0.5",
        "hit_id": "h1",
        "reason": reason,
    }


PAIRS = [
    {"pair_id": "1_2", "text1": "Tv is quick.", "text2": "Books take long."},
    {"pair_id": "2_3", "text1": "Books take long.", "text2": "You see it."},
]


def test_a_vote_becomes_a_canonical_comparison() -> None:
    (row,) = convert.votes([_vote("1_2", "r7", "a2", 10, "It says why.")], PAIRS)
    assert feedback.parse(row, NOW) == {
        "id": "1_2/r7",
        "kind": "comparison",
        "prompt": "Tv is better than books? Argue for: tv.",
        "responses": ["Tv is quick.", "Books take long."],
        "choice": 1,
        "rater": "r7",
        "created_at": "2016-02-01T20:12:00Z",
        "seconds": 120,
        "group": "tv-is-better-than-books",
        "domain": "tv-is-better-than-books",
        "source": "UKPConvArg1",
        "comment": "It says why.",
    }


def test_choices_time_order_and_shared_time() -> None:
    given = [
        _vote("2_3", "r1", "equal", 30),
        _vote("1_2", "r1", "a1", 30),
        _vote("1_2", "r2", "a2", 5, "  "),
    ]
    rows = list(convert.votes(given, PAIRS))
    assert [row["id"] for row in rows] == ["1_2/r2", "1_2/r1", "2_3/r1"]
    assert [row["choice"] for row in rows] == [1, 0, "tie"]
    # r1 sent two votes at once, after two minutes in all.
    assert [row["seconds"] for row in rows] == [120, 60, 60]
    assert not any("comment" in row for row in rows)


@pytest.mark.parametrize("change", [{"pair_id": "8_9"}, {"value": "a3"}])
def test_a_vote_that_cannot_be_read_stops_the_conversion(change: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match="no such pair or value"):
        list(convert.votes([_vote("1_2", "r1", "a1", 1) | change], PAIRS))


def test_both_sides_of_a_debate_share_its_group() -> None:
    yes, no = convert.side("pro-choice-vs-pro-life_pro-choice"), convert.side("x-vs-y-_no-")
    assert (yes.debate, yes.claim) == ("pro-choice-vs-pro-life", "pro-choice")
    assert (no.debate, no.claim) == ("x-vs-y", "no")


def test_demonstrations_are_the_best_third_with_enough_votes() -> None:
    # "Tv is quick." wins 3 of 4 with a tie at half; each of the others wins less.
    values = ["a1", "a1", "a1", "a2"] * 10
    votes = [_vote("1_2", f"r{n}", value, n % 50) for n, value in enumerate(values)]
    votes += [_vote("2_3", f"r{n}", "equal", n % 50) for n in range(40)]
    rows = list(convert.votes(votes, PAIRS))
    (row,) = convert.demonstrations(rows)
    parsed = feedback.parse(row, NOW)
    assert parsed["response"] == "Tv is quick."
    assert parsed["created_at"] == "2016-02-01T20:41:00Z"
    assert parsed["comment"] == "won 30 of 40 votes, a tie counting half"
    assert list(convert.demonstrations(rows[:20])) == []


@pytest.mark.shared
def test_the_real_votes_lose_no_row(shared: Path) -> None:
    data = shared / "data" / "ukpconvarg1"
    ratings = convert.read(data / "ratings.csv.gz")
    rows = list(convert.votes(ratings, convert.read(data / "pairs.csv.gz")))
    codes: Counter[str] = Counter()
    for row in rows:
        try:
            feedback.parse(row, NOW)
        except feedback.RowError as error:
            codes[error.code] += 1
    assert len(rows) == 70_668
    assert codes == {"identical_answers": 75}
    assert len({row["id"] for row in rows}) == 70_668
    assert len({row["group"] for row in rows}) == 13
    assert len({row["prompt"] for row in rows}) == 26


@pytest.mark.shared
def test_no_side_of_the_split_is_empty(shared: Path) -> None:
    pairs = convert.read(shared / "data" / "ukpconvarg1" / "pairs.csv.gz")
    debates = {convert.side(pair["topic"]).debate for pair in pairs}
    keys = {feedback.prompt_key({"group": debate}) for debate in debates}
    split = params.load(FOLDER / "params.yaml").split
    counts = Counter(feedback.sides(keys, split).values())
    assert counts == {"train": 6, "judge": 3, "eval": 4}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"pairs\.csv\.gz: not found"):
        convert.read(tmp_path / "pairs.csv.gz")
    with gzip.open(tmp_path / "pairs.csv.gz", "wt", encoding="utf-8") as file:
        file.write("pair_id,text1\n007,NA\n")
    assert convert.read(tmp_path / "pairs.csv.gz") == [{"pair_id": "007", "text1": "NA"}]


def test_the_settings_load_and_simulate_nobody() -> None:
    found = params.load(FOLDER / "params.yaml")
    assert not found.simulate.enabled
    assert found.model.prompt_tokens + found.model.response_tokens <= 512


def test_the_commands_name_files_that_exist() -> None:
    programs = [line for line in run.commands(Path("/data"), Path("/model")) if line[0] == "python"]
    assert [Path(line[1]).name for line in programs] == ["convert.py", "report.py"]
    assert all((run.ROOT / line[1]).is_file() for line in programs)


def _item(
    first: int, second: int, p: float, texts: tuple[str, str] = ("long text", "b")
) -> report.Item:
    a, b = texts
    row = {"p": p, "votes": first + second, "a": a, "b": b, "prompt": [], "domain": "d"}
    return report.Item(row, first, second)


def test_a_clear_majority_leads_by_more_than_a_third() -> None:
    assert _item(4, 1, 0.8).clear
    assert _item(3, 1, 0.7).clear
    assert not _item(3, 2, 0.6).clear
    assert not _item(2, 0, 1.0).clear


def test_agreement_counts_pairs_of_votes() -> None:
    # 4 to 1: 6 of 10 pairs agree; 3 to 0: 3 of 3.
    assert report.agreement([_item(4, 1, 0.8), _item(3, 0, 1.0)]) == pytest.approx(9 / 13)


def test_the_bound_is_what_a_simulation_of_its_model_gives() -> None:
    random = np.random.default_rng(3)
    c, items, known = 0.7, [], []
    for q in random.beta(c, c, size=20_000):
        first = int(random.binomial(5, q))
        items.append(_item(first, 5 - first, first / 5))
        known.append((q > 0.5) == (first > 2))
    clear = [n for n, item in enumerate(items) if item.clear]
    agreed = report.agreement(items)
    assert agreed == pytest.approx((c + 1) / (2 * c + 1), abs=0.01)
    found = report.bound([items[n] for n in clear], agreed)
    assert found == pytest.approx(np.mean([known[n] for n in clear]), abs=0.01)


def test_votes_at_random_bound_nothing() -> None:
    with pytest.raises(SystemExit, match="by chance"):
        report.bound([_item(4, 1, 0.8)], 0.5)


def test_the_longer_text_is_right_where_it_won() -> None:
    items = [_item(4, 1, 0.8), _item(1, 4, 0.2), _item(4, 1, 0.8, ("same", "size"))]
    assert report.right(report.longer(items), items).tolist() == [1.0, 0.0, 0.5]


def test_an_interval_over_arguments_covers_its_mean() -> None:
    texts = [f"text {n}" for n in range(30)]
    pairs = [(a, b) for a in texts for b in texts if a < b]
    items = [_item(4, 1, 0.8, pair) for pair in pairs]
    values = np.random.default_rng(5).random(len(items))
    line = report.by_arguments("x", values, items)
    assert line.low < line.value < line.high
    assert line.high - line.low < 0.1
