"""Old feedback fades where it does harm, and only there."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from roundhouse.raters import fading

Floats = NDArray[np.float64]


def world(
    turned: float, newest: int, seed: int = 1
) -> tuple[sparse.csr_array, Floats, NDArray[np.int64]]:
    """(features, p, partition): two rounds; of the first a share of the labels is turned."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=20)
    x = rng.normal(size=(1500 + newest, 20))
    p = (x @ taste + rng.logistic(size=len(x)) > 0).astype(float)
    partition = np.repeat([1, 2], [1500, newest])
    wrong = (partition == 1) & (rng.random(len(x)) < turned)
    return sparse.csr_array(x), np.where(wrong, 1 - p, p), partition


def use(turned: float, newest: int = 400, together: int = 3, seed: int = 1) -> list[fading.Use]:
    x, p, partition = world(turned, newest, seed)
    votes, prompt = np.full(len(p), together), np.arange(len(p))
    return fading.usefulness(x, p, np.ones(len(p)), partition, votes, prompt)


def test_a_round_that_contradicts_the_newest_fades() -> None:
    (found,) = use(turned=0.8)
    assert found.round == 1 and found.pairs == 1500
    assert found.gain.high < 0
    assert found.factor == fading.FADED


def test_an_old_round_of_the_same_taste_stays() -> None:
    (found,) = use(turned=0.0)
    assert found.gain.value > 0
    assert found.factor == 1.0


def test_a_noisy_round_fades_where_accuracy_cannot_tell() -> None:
    (found,) = use(turned=0.45, seed=4)
    assert found.gain.low < 0 < found.gain.high
    assert found.likelihood.high < 0
    assert found.factor == fading.FADED


def test_a_round_that_only_makes_the_model_less_sure_stays() -> None:
    (found,) = use(turned=0.3)
    assert found.gain.value > 0
    assert found.factor == 1.0


def test_pairs_of_one_prompt_hang_together() -> None:
    """The same answers four times under one prompt are no more than once."""
    x, p, partition = world(0.5, 1200)
    again = np.concatenate([np.arange(1500), 1500 + np.repeat(np.arange(300), 4)])
    x, p = x[again], p[again]
    wide, narrow = (
        fading.usefulness(x, p, np.ones(len(p)), partition, np.full(len(p), 3), prompt)[0].gain
        for prompt in (again, np.arange(len(p)))
    )
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    few = np.where(partition == 2, again % (fading.LEAST - 1), again)
    (found,) = fading.usefulness(x, p, np.ones(len(p)), partition, np.full(len(p), 3), few)
    assert not found.gain.known


def lines(rounds: Mapping[int, int], shared: int) -> list[dict[str, Any]]:
    """Pairs of pairs.jsonl: so many of each round, three votes on each of the round `shared`."""
    numbers = [number for number, size in rounds.items() for _ in range(size)]
    return [
        {
            "prompt": [{"role": "user", "content": f"q{k}"}], "a": f"good {k % 7}",
            "b": f"bad {k % 5}", "p": 1.0, "weight": 1.0, "side": "train", "partition": number,
            "votes": 3 if number == shared else 1,
        }
        for k, number in enumerate(numbers)
    ]  # fmt: skip


def test_a_sample_without_the_newest_round_takes_no_older_one_for_it() -> None:
    rounds = {1: 1, 2: fading.MOST + 4000, 3: 900, 4: 1}
    pairs, none = lines(rounds, shared=3), np.zeros(sum(rounds.values()), bool)
    lost = next(seed for seed in range(99) if len(none) - 1 not in fading._looked_at(none, seed))
    uses = fading.of_pairs(pairs, lost, draws=20)
    assert [(one.round, one.pairs) for one in uses] == [(k, rounds[k]) for k in (1, 2, 3)]
    assert not any(one.likelihood.known or one.gain.known for one in uses)
    assert {one.factor for one in uses} == {1.0}


def test_of_a_round_that_a_sample_lacks_nothing_is_said() -> None:
    x, p, partition = world(0.8, 400)
    votes, prompt, rounds = np.full(len(p), 3), np.arange(len(p)), np.array([0, 1, 2])
    weight = np.ones(len(p))
    none, found = fading.usefulness(x, p, weight, partition, votes, prompt, rounds=rounds)
    assert (none.round, none.pairs, none.factor) == (0, 0, 1.0)
    assert not none.gain.known and not none.likelihood.known
    (alone,) = fading.usefulness(x, p, weight, partition, votes, prompt)
    assert found == alone


def test_what_is_written_does_not_hang_on_the_order_of_sums() -> None:
    (found,) = use(turned=0.8)
    other = found._replace(
        likelihood=found.likelihood._replace(value=found.likelihood.value + 1e-14)
    )
    assert other.likelihood != found.likelihood and other.as_json() == found.as_json()


def test_where_the_newest_cannot_tell_nothing_is_said() -> None:
    for found in (use(turned=0.8, newest=fading.LEAST - 1), use(turned=0.8, together=1)):
        assert not found[0].gain.known and not found[0].likelihood.known
        assert found[0].factor == 1.0
