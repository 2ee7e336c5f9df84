"""Which pairs to have labelled: reward accuracy by number of labels for each way to choose.

    python -m benchmarks.raters.choosing [--seeds N] [--out FILE]

In the simulated world an earlier assistant answers training prompts twice. The same random pairs
are labelled first; then each method chooses batch after batch from one pool, by the model that its
own labels made: a linear reward model on text features (`raters.opinion`, their main directions in
the pool), with an ensemble by bootstrap for the disagreement. One rater of the simulated team votes
on each chosen pair, the same vote whoever chooses it; a fifth of each batch is random. Accuracy is
the share of held-out pairs, on other prompts, whose truly better answer the model names.

Differences to random are paired over seeds, with a 95 % interval of Student's t.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression

from roundhouse.raters import choosing, opinion
from roundhouse.raters.choosing import WIDTH, Method
from roundhouse.raters.table import Item
from roundhouse.simulate import team
from roundhouse.simulate.answers import EARLIER_ASSISTANT, draw
from roundhouse.simulate.world import all_prompts, utility

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Pairs to choose from, and held-out pairs; labels at the start, and in each batch.
POOL, HELD_OUT, START, BATCH, BATCHES = 3000, 2000, 100, 100, 9
#: Members of the ensemble, and the inverse strength of the ridge penalty.
MEMBERS, RIDGE = 8, 1.0
METHODS: tuple[Method, ...] = get_args(Method)


class World(NamedTuple):
    """One seed's pairs: features [pairs, WIDTH] of the pool and of the held-out pairs; vote: [pool]
    the part of a vote that the first answer gets (a tie 0.5); truth: [held out] whether the first
    answer is better."""

    pool: Floats
    vote: Floats
    held_out: Floats
    truth: NDArray[np.bool_]


def main() -> None:
    """Prints accuracies and differences, and writes them as JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    start = time.process_time()
    runs = [run(world(wanted.seed + k), wanted.seed + k) for k in range(wanted.seeds)]
    # [seeds, methods, sizes]
    accuracy = np.array([[one[method] for method in METHODS] for one in runs])
    sizes = [START + BATCH * number for number in range(BATCHES + 1)]
    found = {
        "seeds": wanted.seeds, "labels": sizes, "seconds": time.process_time() - start,
        "methods": {
            method: summary(accuracy[:, k], accuracy[:, METHODS.index("random")])
            for k, method in enumerate(METHODS)
        },
    }  # fmt: skip
    sys.stdout.write(table(found))
    if wanted.out:
        wanted.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def world(seed: int) -> World:
    """A seed's pairs, with the vote that each would get."""
    rng = Random(f"choosing/{seed}")
    prompts = rng.sample(all_prompts(), POOL + HELD_OUT)
    items = [
        Item([{"role": "user", "content": one}], *_answers(one, rng), "", "") for one in prompts
    ]
    people = team.team(50)
    vote = [_vote(people, one, rng) for one in items[:POOL]]
    gain = np.array([_gain(one) for one in items[POOL:]])
    every = opinion.features(items)
    pool, held_out = choosing.directions(every[:POOL], every[POOL:], seed, WIDTH)
    told = np.abs(gain) > 1e-9
    return World(pool, np.array(vote), held_out[told], gain[told] > 0)


def _answers(prompt: str, rng: Random) -> tuple[str, str]:
    first = second = draw(prompt, EARLIER_ASSISTANT, rng)
    while second == first:
        second = draw(prompt, EARLIER_ASSISTANT, rng)
    return first, second


def _gain(item: Item) -> float:
    prompt = item.prompt[0]["content"]
    return utility(prompt, item.a) - utility(prompt, item.b)


def _vote(people: list[team.Rater], item: Item, rng: Random) -> float:
    shown = team.Item(item.prompt[0]["content"], (item.a, item.b), first=rng.choice((0, 1)))
    said = team.choose(rng.choice(people), shown, rng)
    return 0.5 if said == "tie" else float(said == 0)


def run(this: World, seed: int) -> dict[Method, list[float]]:
    """Held-out accuracy after each batch, by method."""
    first = np.random.default_rng(seed).permutation(POOL)[:START]
    return {method: _follow(this, method, first, seed) for method in METHODS}


def _follow(this: World, method: Method, labelled: Ints, seed: int) -> list[float]:
    found = []
    for number in range(BATCHES + 1):
        weights = fit(this.pool[labelled], this.vote[labelled])
        found.append(float(((this.held_out @ weights > 0) == this.truth).mean()))
        if number == BATCHES:
            break
        left = np.setdiff1d(np.arange(POOL), labelled)
        margin = this.pool[left] @ weights
        members, known = None, None
        if method == "disagreement":
            members = (this.pool[left] @ ensemble(this, labelled, seed + number)).std(axis=1)
        if method == "information":
            known = choosing.information(this.pool[labelled], this.pool[labelled] @ weights)
        chosen = choosing.choose(
            method, BATCH, seed * 1000 + number, margin, members, this.pool[left], known
        )
        labelled = np.concatenate([labelled, left[chosen]])
    return found


def fit(features: Floats, vote: Floats) -> Floats:
    """[WIDTH] the ridge regression on votes, a tie half for each side."""
    both = np.concatenate([features, features])
    label = np.repeat([1, 0], len(vote))
    model = LogisticRegression(C=RIDGE / WIDTH, fit_intercept=False, max_iter=200)
    model.fit(both, label, sample_weight=np.concatenate([vote, 1 - vote]))
    return np.asarray(model.coef_[0], np.float64)


def ensemble(this: World, labelled: Ints, seed: int) -> Floats:
    """[WIDTH, MEMBERS] models of labelled pairs drawn again."""
    rng = np.random.default_rng([seed, 7])
    drawn = (rng.choice(labelled, len(labelled)) for _ in range(MEMBERS))
    return np.stack([fit(this.pool[one], this.vote[one]) for one in drawn], axis=1)


def summary(accuracy: Floats, random: Floats) -> dict[str, Any]:
    """Means over seeds by number of labels, and the difference to random with its interval.

    Args:
        accuracy: [seeds, sizes] of a method.
        random: [seeds, sizes] of random pairs.
    """
    # The mean over all sizes behind the start stands last: one figure for the whole curve.
    apart = accuracy - random
    apart = np.hstack([apart, apart[:, 1:].mean(axis=1, keepdims=True)])
    error = apart.std(axis=0, ddof=1) / np.sqrt(len(apart))
    half = stats.t.ppf(0.975, len(apart) - 1) * error
    mean = apart.mean(axis=0)
    return {
        "accuracy": accuracy.mean(axis=0).tolist(),
        "difference": mean[:-1].tolist(),
        "low": (mean - half)[:-1].tolist(),
        "high": (mean + half)[:-1].tolist(),
        "curve": [float(one[-1]) for one in (mean, mean - half, mean + half)],
    }


def table(found: dict[str, Any]) -> str:
    """Accuracy with random pairs, and each other method's less that, by number of labels."""
    others = [name for name in METHODS if name != "random"]
    lines = [f"{'labels':>7}  {'random':8}" + "".join(f"{name:28}" for name in others)]
    base = found["methods"]["random"]["accuracy"]
    for k, size in enumerate(found["labels"]):
        cells = [
            _cell(*(found["methods"][name][key][k] for key in ("difference", "low", "high")))
            for name in others
        ]
        lines.append(f"{size:>7}  {base[k]:<8.3f}" + "".join(f"{cell:28}" for cell in cells))
    cells = [_cell(*found["methods"][name]["curve"]) for name in others]
    lines.append(f"{'mean':>7}  {np.mean(base[1:]):<8.3f}" + "".join(f"{one:28}" for one in cells))
    return "\n".join([*lines, f"{found['seeds']} seeds, {found['seconds']:.0f} s of one core", ""])


def _cell(value: float, low: float, high: float) -> str:
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"


if __name__ == "__main__":
    main()
