"""The pool by its anchors: products of pairs by loops, verdicts on simulated pools."""

import math
from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters import anchors, table
from roundhouse.simulate.votes import Fault, Pool, draw

DEFAULT = Pool()
EVERYONE = range(50)


def change(
    pool: Pool,
    seed: int,
    faults: list[Fault] | None = None,
    harder: dict[int, float] | None = None,
    rounds: int = 2,
) -> anchors.PoolChange:
    votes = draw(pool, rounds, seed, faults or [], harder).votes
    now = votes["round"] == rounds
    return anchors.pool_change(votes[now], votes[~now])


def test_products_are_those_of_all_pairs_of_different_raters() -> None:
    votes = draw(Pool(raters=6, votes=5, anchors=4, gold=0, bank=5), 3, 2).votes
    before, now = votes[votes["round"] < 3], votes[votes["round"] == 3]
    cells = anchors._cells(now, before)
    items = pd.factorize(pd.concat([before["item"], now["item"]]))[1]
    sides = {
        name: [
            [(r, 1 - 2 * said) for i, r, said in rows if i == item] for item in items
        ]
        for name, frame in (("o", before), ("n", now))
        for rows in [list(zip(frame["item"], frame["rater"], frame["label"], strict=True))]
    }  # fmt: skip
    for first, second in ("oo", "on", "nn"):
        found = anchors._Products(cells, first, second)
        for place in range(len(items)):
            one, other = sides[first][place], sides[second][place]
            pairs = permutations(one, 2) if first == second else product(one, other)
            signs = [a * b for (who, a), (whom, b) in pairs if who != whom]
            assert found.pairs[place] == len(signs)
            assert found.means[place] == pytest.approx(np.mean(signs) if signs else 0.0)


def test_a_cell_moves_the_mean_as_its_derivative_says() -> None:
    votes = draw(Pool(raters=6, votes=5, anchors=4, gold=0, bank=5), 2, 3).votes
    cells = anchors._cells(votes[votes["round"] == 2], votes[votes["round"] == 1])
    weight = (anchors._Products(cells, "o", "n").pairs > 0).astype(float)
    base = anchors._Products(cells, "o", "n").mean(weight)
    step = 1e-6
    for cell in range(0, len(cells.rater), 5):
        more = 1 + step * (np.arange(len(cells.rater)) == cell)
        grown = cells._replace(
            old=cells.old * more, new=cells.new * more,
            old_votes=cells.old_votes * more, new_votes=cells.new_votes * more,
        )  # fmt: skip
        moved = anchors._Products(grown, "o", "n").mean(weight).value - base.value
        assert moved / step == pytest.approx(base.cell[cell], abs=1e-4)


@pytest.mark.parametrize("share", [0.5, 0.75, 0.3, 1.0])
def test_the_kept_part_solves_its_equation(share: float) -> None:
    for kept in (1.1, 1.0, 0.8, 0.6):
        fall = (1 - kept) * (share + (1 - share) * kept)
        assert anchors._kept(fall, share) == pytest.approx(kept)


def test_the_order_of_answers_does_not_matter() -> None:
    votes = draw(DEFAULT, 2, 9).votes
    turned = votes.assign(label=1 - votes["label"])
    one, other = (
        anchors.pool_change(frame[frame["round"] == 2], frame[frame["round"] == 1])
        for frame in (votes, turned)
    )
    assert other.cause == one.cause and other.anchors == one.anchors
    assert other.flipped == pytest.approx(one.flipped)
    assert (other.p, other.p_shift) == pytest.approx((one.p, one.p_shift))


def test_verdicts_on_pools_that_changed_and_items_that_did() -> None:
    """Ten worlds each; the rates over many are in benchmarks/raters/change.py."""
    flips = [change(DEFAULT, seed, [Fault(EVERYONE, "flip", 0.15, since=2)]) for seed in range(10)]
    assert sum(one.cause == "raters changed" for one in flips) >= 8
    assert sum(one.flipped.low <= 0.15 <= one.flipped.high for one in flips) >= 7
    harder = [change(DEFAULT, seed, harder={2: 0.5}) for seed in range(10)]
    assert sum(one.cause == "items got harder" for one in harder) >= 8
    assert sum(one.cause == "raters changed" for one in harder) <= 2
    assert np.mean([one.harder.value for one in harder]) < 0.65
    same = [change(DEFAULT, seed) for seed in range(10)]
    assert sum(one.cause == "neither" for one in same) >= 8
    assert sum(one.flipped.low <= 0 <= one.flipped.high for one in same) >= 7


def test_a_new_taste_that_all_share_is_a_shift() -> None:
    """Raters agree with each other as before, and no longer with their own past."""
    worlds = [change(DEFAULT, seed, [Fault(EVERYONE, "taste", 0.5, since=2)]) for seed in range(6)]
    assert sum(one.p_shift < anchors.POOL_P for one in worlds) >= 5
    assert all(one.cause == "raters changed" for one in worlds if one.p_shift < anchors.POOL_P)


def test_longer_records_narrow_the_interval() -> None:
    pool = Pool(raters=30, votes=60)
    widths = []
    for rounds in (2, 5):
        found = [change(pool, seed, rounds=rounds).flipped for seed in range(5)]
        widths.append(np.mean([one.high - one.low for one in found]))
    assert widths[1] < 0.9 * widths[0]


def test_without_anchors_nobody_can_tell() -> None:
    none = change(Pool(anchors=0), 1)
    assert none.cause == "cannot tell" and none.anchors == 0
    assert not none.flipped.known and not none.harder.known
    assert all(math.isnan(p) for p in (none.p, none.p_shift, none.p_harder))
    single = change(Pool(overlap=0.0), 1)
    assert single.flipped.known and math.isnan(single.p_harder)
    assert single.cause == "cannot tell", "nothing says how hard the fresh items are"
    empty = table.tidy(pd.DataFrame({"item": [0], "rater": ["a"], "label": [0]})).iloc[:0]
    assert anchors.pool_change(empty, empty).cause == "cannot tell"


def pool_votes(
    anchor_votes: Callable[[int, int], dict[str, int]],
    fresh_votes: Callable[[int, int], dict[str, int]],
    anchor_items: int = 30,
    fresh_items: int = 60,
) -> anchors.PoolChange:
    """The change between two rounds of a pool that votes so; both are called with a round, 1 or 2,
    and an item's number, and give the labels by rater."""
    rows = [
        (f"{kind}{number}", rater, label, time, kind == "anchor")
        for time in (1, 2)
        for kind, votes, items in (
            ("anchor", anchor_votes, anchor_items),
            (f"fresh{time}-", fresh_votes, fresh_items),
        )
        for number in range(items)
        for rater, label in votes(time, number).items()
    ]
    columns = ["item", "rater", "label", "round", "anchor"]
    votes = table.tidy(pd.DataFrame(rows, columns=columns))
    return anchors.pool_change(votes[votes["round"] == 2], votes[votes["round"] == 1])


def some(generator: np.random.Generator, least: int, most: int) -> list[str]:
    """Names of so many of twelve raters."""
    size = generator.integers(least, most + 1)
    return [f"r{rater}" for rater in generator.choice(12, size, replace=False)]


def split_votes(yes: int, no: int) -> dict[str, int]:
    return {f"r{rater}": int(rater >= yes) for rater in range(yes + no)}


def unanimous_on_anchors(seed: int) -> anchors.PoolChange:
    generator = np.random.default_rng(seed)
    return pool_votes(
        lambda _, number: dict.fromkeys(some(generator, 2, 12), number % 2),
        lambda _, __: {who: int(generator.random() < 0.15) for who in some(generator, 3, 3)},
    )


def test_unanimous_anchors_say_nothing_of_a_change() -> None:
    """There is nothing that could vary: what sums differ by is rounding."""
    for seed in range(60):
        one = unanimous_on_anchors(seed)
        assert one.cause == "neither", seed
        assert math.isnan(one.p) and math.isnan(one.p_shift)
        assert one.harder.known and 0.001 < one.p_harder < 0.999


@pytest.mark.parametrize("raters", [3, 4, 7])
@pytest.mark.parametrize(("count", "fresh"), [(20, 20), (25, 100), (30, 47), (40, 100)])
def test_where_all_are_of_one_mind_nothing_got_harder(raters: int, count: int, fresh: int) -> None:
    """Raters meet on fresh items in groups of other sizes, so that sums are rounded otherwise."""
    one = pool_votes(
        lambda _, number: split_votes(raters, 0),
        lambda time, number: split_votes(2 + (number + time) % (raters - 1), 0),
        count,
        fresh,
    )
    assert one.cause == "cannot tell" and math.isnan(one.p_harder)


@pytest.mark.parametrize("by_chance", [1, 2])
def test_agreement_at_chance_tells_nothing_of_harder_items(by_chance: int) -> None:
    """All three voters agree on one item in four: the mean product is 0, but for rounding."""
    for size in (60, 92, 100, 124, 200, 244):
        one = pool_votes(
            lambda _, number: split_votes(4, int(number % 3 == 0)),
            lambda time, number: split_votes(
                *((3, 0) if number % 4 == 0 or (time != by_chance and number % 3) else (2, 1))
            ),
            fresh_items=size,
        )
        assert not one.harder.known and one.cause == "cannot tell", size


def test_agreement_that_is_hardly_above_chance_tells_nothing_of_harder_items() -> None:
    splits = [(5, 2)] * 11 + [(4, 2)] * 2 + [(5, 3)] * 5 + [(2, 0), (1, 1)] * 30
    one = pool_votes(
        lambda _, number: split_votes(4, int(number % 3 == 0)),
        lambda time, number: split_votes(*splits[number]) if time == 1 else split_votes(3, 0),
        fresh_items=len(splits),
    )
    assert not one.harder.known and one.cause == "cannot tell"


@pytest.mark.parametrize("raters", [3, 4, 7])
def test_raters_who_turn_every_vote_have_changed(raters: int) -> None:
    """Nothing varies here either, but the figure is as large as can be: it needs no error."""
    one = pool_votes(
        lambda time, number: dict.fromkeys(split_votes(raters - number % 2, 0), int(time == 2)),
        lambda _, number: split_votes(3, int(number % 5 == 0)),
    )
    assert (one.cause, one.p_shift) == ("raters changed", 0.0)


@pytest.mark.parametrize("raters", [4, 5])
def test_a_shift_is_seen_where_noise_cannot_be(raters: int) -> None:
    """Everybody votes on each anchor in both rounds, and a third of them turn, for all alike."""
    generator = np.random.default_rng(1)
    one = pool_votes(
        lambda time, number: dict.fromkeys(
            split_votes(raters if time == 2 else 4, 0), int(time == 2 and number < 10)
        ),
        lambda _, __: {who: int(generator.random() < 0.2) for who in some(generator, 3, 3)},
    )
    assert math.isnan(one.p) == (raters == 4)
    assert one.p_shift < 1e-3 and one.cause == "raters changed"
