"""How far the reward model gets on held-out debates, beside what is trivial and what is possible.

    python examples/convincing_arguments/report.py [--round N]

Reads what the round published under rounds/NNNN. All figures are on the same items: pairs of
arguments from debates that neither trained the reward model nor the judge, and on which one
argument has a clear majority (as in the round's own `reward/accuracy_majority`: three votes or
more, of which the winner leads by more than a third, a tie counting half for each).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roundhouse import jsonl
from roundhouse.learn import accuracy, reward_model

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[2]
DRAWS = 1000


class Item(NamedTuple):
    """A held-out pair with its votes.

    Attributes:
        row: its line of pairs.jsonl; `p` is the soft label.
        first, second: votes for either argument; ties are in neither.
    """

    row: dict[str, Any]
    first: int
    second: int

    @property
    def clear(self) -> bool:
        """Whether one argument has a clear majority."""
        return bool(self.row["votes"] > 2 and abs(self.row["p"] - 0.5) > 1 / 6)


class Line(NamedTuple):
    """One way to tell the better argument: its accuracy, and its interval over arguments."""

    name: str
    value: float
    low: float
    high: float


def held_out(workspace: Path) -> list[Item]:
    """The items of the evaluation side with their votes, as the round used them."""
    lines = [
        row for row in jsonl.read(workspace / "out/raters/pairs.jsonl") if row["side"] == "eval"
    ]
    wanted = {row_id for line in lines for row_id in line["rows"]}
    votes: dict[str, tuple[str, Any]] = {}
    for path in sorted((workspace / "data/feedback").glob("*.jsonl")):
        for row in jsonl.read(path):
            if row["id"] in wanted:
                choice = row["choice"]
                votes[row["id"]] = ("" if choice == "tie" else row["responses"][choice], choice)
    items = []
    for line in lines:
        chosen = [votes[row_id][0] for row_id in line["rows"]]
        items.append(Item(line, chosen.count(line["a"]), chosen.count(line["b"])))
    return items


def agreement(items: Sequence[Item]) -> float:
    """Share of equal pairs of votes on one item, ties dropped."""
    equal = sum(i.first * (i.first - 1) + i.second * (i.second - 1) for i in items)
    size = [i.first + i.second for i in items]
    return equal / sum(n * (n - 1) for n in size)


def bound(items: Sequence[Item], agreed: float) -> float:
    """Accuracy that a model could reach that knew which argument most people prefer.

    A majority of five votes may differ from what most people would say. Let each item have its own
    share q of people who prefer the first argument, spread as a symmetric Beta(c, c). Two people
    then agree with probability A = E[q^2 + (1 - q)^2] = (c + 1) / (2 c + 1), so that the agreement
    gives c = (1 - A) / (2 A - 1). After its votes an item's q is Beta(c + first, c + second), and
    the label is right with the probability that q lies on the label's side of one half.

    Raises:
        SystemExit: raters agree no more than by chance, so the votes tell nothing.
    """
    if agreed <= 0.5:
        raise SystemExit("raters agree no more than by chance: the votes bound nothing")
    c = (1 - agreed) / (2 * agreed - 1)
    right = [_above_half(c + i.first, c + i.second) for i in items]
    labels = [item.row["p"] > 0.5 for item in items]
    return float(np.mean([p if up else 1 - p for p, up in zip(right, labels, strict=True)]))


def _above_half(a: float, b: float, steps: int = 4000) -> float:
    """P(q > 1/2) for q ~ Beta(a, b): both halves integrated, each over t in q = t^(1/a)."""
    # The substitution takes the density's pole at 0 (a < 1) away; by symmetry the other half too.
    upper, lower = _half(b, a, steps), _half(a, b, steps)
    return upper / (upper + lower)


def _half(a: float, b: float, steps: int) -> float:
    """Integral of q^(a-1) (1-q)^(b-1) from 0 to 1/2."""
    t = (np.arange(steps) + 0.5) / steps * 0.5**a
    return float(np.mean((1 - t ** (1 / a)) ** (b - 1)) * 0.5**a / a)


def margins(scorer: reward_model.Scorer, items: Sequence[Item]) -> Floats:
    """Score of the first argument minus the second's."""
    prompts = [item.row["prompt"] for item in items]
    first = reward_model.score(scorer, prompts, [item.row["a"] for item in items])
    second = reward_model.score(scorer, prompts, [item.row["b"] for item in items])
    found: Floats = np.array(first) - np.array(second)
    return found


def longer(items: Sequence[Item]) -> Floats:
    """The rule `always the longer text`, in characters, as margins."""
    return np.array([float(len(item.row["a"]) - len(item.row["b"])) for item in items])


def right(found: Floats, items: Sequence[Item]) -> Floats:
    """1 where the sign of a margin is the label's, 0 where it is not, 1/2 for equal scores."""
    return accuracy.correct(found, np.array([item.row["p"] for item in items]))


def by_arguments(name: str, values: Floats, items: Sequence[Item], seed: int = 17) -> Line:
    """Mean of a value an item, with a 95 % bootstrap interval over arguments.

    Each argument stands in some thirty pairs, so pairs are not independent: the arguments are drawn
    again, and a pair counts as often as both of its own were. The debates stay the ones they are.
    """
    texts = {text: n for n, text in enumerate({i.row[s]: 0 for i in items for s in "ab"})}
    a, b = (np.array([texts[item.row[side]] for item in items]) for side in "ab")
    random = np.random.default_rng(seed)
    drawn = np.empty(DRAWS)
    for draw in range(DRAWS):
        times = np.bincount(random.integers(len(texts), size=len(texts)), minlength=len(texts))
        weight = times[a] * times[b]
        drawn[draw] = (weight @ values) / weight.sum()
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Line(name, float(values.mean()), float(low), float(high))


def tell(workspace: Path) -> str:
    """The report on a round, as text."""
    every = held_out(workspace)
    clear = [item for item in every if item.clear]
    model = right(margins(reward_model.load(workspace / "out/reward/model"), clear), clear)
    judge = right(margins(reward_model.load(workspace / "out/reward/judge"), clear), clear)
    length = right(longer(clear), clear)
    debates = sorted({item.row["domain"] for item in clear})
    agreed = agreement(every)
    text = [
        f"{len(debates)} held-out debates; {len(clear)} of {len(every)} pairs: a clear majority",
        "accuracy on these:",
        *map(
            _show,
            [
                by_arguments("always the longer text", length, clear),
                by_arguments("reward model", model, clear),
                by_arguments("reward model minus longer text", model - length, clear),
                by_arguments("judge", judge, clear),
            ],
        ),
        f"  {'bound that agreement allows':<32}{bound(clear, agreed):.3f}",
        f"(two votes on one of the {len(every)} pairs agree {agreed:.3f}, ties dropped)",
        "by debate: longer text, reward model",
    ]
    for debate in debates:
        of = np.array([item.row["domain"] == debate for item in clear])
        text.append(f"  {length[of].mean():.3f}  {model[of].mean():.3f}  {debate} ({of.sum()})")
    return "\n".join(text) + "\n"


def _show(line: Line) -> str:
    return f"  {line.name:<32}{line.value:.3f}  [{line.low:.3f}, {line.high:.3f}]"


def main() -> None:
    """Prints the report on a round, the newest one where none is named."""
    options = argparse.ArgumentParser(description="The reward model on held-out debates.")
    options.add_argument("--round", type=int, metavar="N")
    number = options.parse_args().round
    rounds = sorted(path for path in (ROOT / "rounds").glob("[0-9]*") if path.is_dir())
    if number is not None:
        rounds = [path for path in rounds if int(path.name) == number]
    if not rounds:
        raise SystemExit("no such round under rounds/; run.py makes one")
    sys.stdout.write(tell(rounds[-1]))


if __name__ == "__main__":
    main()
