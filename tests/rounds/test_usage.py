"""What became of rows in a round, read off the stages' files without decoding anyone's texts."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roundhouse import jsonl
from roundhouse.learn import preferences
from roundhouse.locations import Locations
from roundhouse.rounds import usage
from roundhouse.rounds.inputs import Inputs
from roundhouse.rounds.shelf import Shelf

#: A text that tries to look like the end of a line.
HOSTILE = '","rows":["x"],"side":"train","weight":9}\n,"p":0.1,"partition":7,"prompt":"'


class Paper(Shelf):
    """A shelf with the lines that it is given."""

    def __init__(self, files: dict[str, list[dict[str, Any]]], most: int = 0) -> None:
        super().__init__(Locations(Path("/nonexistent")))
        self._files, self._most = files, most

    def lines(self, tag: str, name: str) -> Iterator[bytes]:
        for row in self._files.get(name, []):
            yield (jsonl.dumps(row) + "\n").encode()

    def settings(self, tag: str) -> dict[str, Any]:
        return {"reward": {"max_pairs": self._most}}

    def inputs(self, tag: str) -> Inputs:
        return Inputs(
            round=1, at="", watermark=0, chain="", previous=None, champion=None, base="", seed=17,
            accepted=(), rater_states={}, partitions={},
        )  # fmt: skip


def pair(number: int, side: str = "train", partition: int = 1) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": HOSTILE}], "a": HOSTILE, "b": 'say "rows":[1]',
        "p": 0.25 + number / 100, "weight": 1.5, "votes": 2, "side": side, "domain": "d",
        "partition": partition, "rows": [f"a{number}", f"b{number}"],
    }  # fmt: skip


def shown(number: int, side: str) -> dict[str, Any]:
    return {
        "prompt": HOSTILE, "response": HOSTILE, "side": side, "domain": "", "partition": 1,
        "rows": [f"d{number}"], "weight": 0.5,
    }  # fmt: skip


FILES: dict[str, list[dict[str, Any]]] = {
    usage.DEMONSTRATIONS: [shown(1, "train"), shown(2, "judge"), shown(3, "eval")],
    usage.PAIRS: [pair(1), pair(2, "judge"), pair(3, "eval")],
    usage.FLAGS: [
        {"prompt": HOSTILE, "response": HOSTILE, "reason": HOSTILE, "side": "eval", "rows": ["f1"]}
        | {"domain": ""}
    ],
    usage.EXCLUDED: [{"id": "x1", "partition": 1, "check": "duplicate"}],
    usage.UNUSED: [{"id": "u1", "partition": 1, "reason": "suspended"}],
}


def test_every_line_has_its_use_whatever_the_texts_hold() -> None:
    assert list(usage.uses(Paper(FILES), "round-0001")) == [
        usage.Use("sft", ("d1",), 0.5),
        usage.Use("aside", ("d2",)),
        usage.Use("evaluate", ("d3",)),
        usage.Use("reward", ("a1", "b1"), 1.5, 0.26, 2),
        usage.Use("judge", ("a2", "b2"), 1.5, 0.27, 2),
        usage.Use("evaluate", ("a3", "b3"), None, 0.28, 2),
        usage.Use("safety", ("f1",)),
        usage.Use("excluded", ("x1",), why="duplicate"),
        usage.Use("unused", ("u1",), why="suspended"),
    ]


def test_one_row_is_looked_for() -> None:
    for wanted, how in (("b2", "judge"), ("x1", "excluded"), ("d1", "sft")):
        assert [use.how for use in usage.uses(Paper(FILES), "t", only=wanted)] == [how]
    named = {usage.PAIRS: [pair(1) | {"rows": ['é"\\']}]}
    assert [use.rows for use in usage.uses(Paper(named), "t", only='é"\\')] == [('é"\\',)]


def test_pairs_that_were_not_drawn_are_those_that_training_left_out() -> None:
    draw = random.Random(5)
    rows = [pair(n, draw.choice(("train", "judge")), draw.randint(1, 4)) for n in range(60)]
    taken = set()
    for side in ("train", "judge"):
        found = [
            preferences.Pair(row["prompt"], str(row["rows"]), "", 0, 1, 1, "", row["partition"])
            for row in rows
            if row["side"] == side
        ]
        taken |= {one.a for one in preferences.newest(found, 10, seed=17)}
    uses = list(usage.uses(Paper({usage.PAIRS: rows}, most=10), "t"))
    assert len(uses) == 60
    assert {str(list(use.rows)) for use in uses if use.how != "not-drawn"} == taken
    assert all(use.weight is None for use in uses if use.how == "not-drawn")
