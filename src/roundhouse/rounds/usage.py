"""What became of feedback rows in a published round: what they trained, measured, or why not.

Read off the files of the stages validate and raters, a line at a time. Their lines are canonical
JSON with sorted keys, so that the ids and weights stand at a line's end, and nobody's texts have to
be decoded for them.
"""

import json
import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from roundhouse.rounds.shelf import Shelf

DEMONSTRATIONS = "out/raters/demonstrations.jsonl"
PAIRS = "out/raters/pairs.jsonl"
FLAGS = "out/raters/flags.jsonl"
EXCLUDED = "out/validate/excluded.jsonl"
UNUSED = "out/raters/unused.jsonl"

#: Uses that make a model what it is; the others measure it, or decide nothing.
TRAINS = ("sft", "reward")

#: File and side of the split to the use that its lines have.
_USES = {
    (DEMONSTRATIONS, "train"): "sft",
    (DEMONSTRATIONS, "judge"): "aside",
    (DEMONSTRATIONS, "eval"): "evaluate",
    (PAIRS, "train"): "reward",
    (PAIRS, "judge"): "judge",
    (PAIRS, "eval"): "evaluate",
}
_HEAD = re.compile(rb'[{,]"p":([^,]+),"partition":(\d+),"prompt":')


class Use(NamedTuple):
    """Rows that became one thing together: a demonstration, a pair, a flagged answer; or nothing.

    Attributes:
        how: `sft` and `reward` (trained), `judge`, `evaluate` and `safety` (measured), `aside` (a
            demonstration on a prompt of the judge), `not-drawn` (cut by `reward.max_pairs`),
            `excluded`, `unused`.
        rows: ids.
        weight: of the demonstration or the pair in training; None where nothing is weighted.
        p: the pair's soft label: probability that its answer a is better.
        votes: behind the pair.
        why: the check that excluded the row, or why it is unused.
    """

    how: str
    rows: tuple[str, ...]
    weight: float | None = None
    p: float | None = None
    votes: int | None = None
    why: str | None = None


def uses(shelf: Shelf, tag: str, only: str | None = None) -> Iterator[Use]:
    """All uses of a round, excluded and unused rows last.

    Args:
        shelf: of the published files.
        tag: the round's.
        only: id of the one row to look for.
    """
    needle = b"" if only is None else json.dumps(only, ensure_ascii=False).encode()
    for line in shelf.lines(tag, DEMONSTRATIONS):
        if needle in line:
            end = _end(line)
            how = _USES[DEMONSTRATIONS, end["side"]]
            yield Use(how, tuple(end["rows"]), end["weight"] if how == "sft" else None)
    yield from _pairs(shelf, tag, needle)
    for line in shelf.lines(tag, FLAGS):
        if needle in line:
            yield Use("safety", tuple(_end(line)["rows"]))
    for name, how, why in ((EXCLUDED, "excluded", "check"), (UNUSED, "unused", "reason")):
        for line in shelf.lines(tag, name):
            if needle in line:
                found = json.loads(line)
                yield Use(how, (found["id"],), why=found[why])


def _pairs(shelf: Shelf, tag: str, needle: bytes) -> Iterator[Use]:
    cut = _not_drawn(shelf, tag)
    places = {"train": -1, "judge": -1}
    for line in shelf.lines(tag, PAIRS):
        side = _side(line)
        if side in places:
            places[side] += 1
        if needle in line:
            end, head = _end(line), _HEAD.search(line)
            assert head, "a pair has a soft label and a partition"
            how = _USES[PAIRS, side]
            if places.get(side) in cut.get(side, ()):
                how = "not-drawn"
            weight = end["weight"] if how in ("reward", "judge") else None
            yield Use(how, tuple(end["rows"]), weight, float(head[1]), end["votes"])


def _not_drawn(shelf: Shelf, tag: str) -> dict[str, set[int]]:
    """By side, the places of the pairs that `reward.max_pairs` left out, as `learn.reward` does."""
    most = shelf.settings(tag)["reward"].get("max_pairs", 0)
    if not most:
        return {}
    partitions: dict[str, list[int]] = {"train": [], "judge": []}
    for line in shelf.lines(tag, PAIRS):
        head, side = _HEAD.search(line), _side(line)
        if head and side in partitions:
            partitions[side].append(int(head[2]))
    seed = shelf.inputs(tag).seed
    return {side: left_out(found, most, seed) for side, found in partitions.items()}


def left_out(partitions: list[int], most: int, seed: int) -> set[int]:
    """Places of the pairs, given by their partitions, that `preferences.newest` does not take."""
    if len(partitions) <= most:
        return set()
    drawn = random.Random(seed).sample(range(len(partitions)), len(partitions))
    return set(sorted(drawn, key=lambda place: -partitions[place])[most:])


def _end(line: bytes) -> dict[str, Any]:
    """The keys of a line from `rows` on. Within a text the quotes would be escaped."""
    found: dict[str, Any] = json.loads(b"{" + line[line.rindex(b'"rows":[') :])
    return found


def _side(line: bytes) -> str:
    start = line.rindex(b'"side":"') + 8
    return line[start : line.index(b'"', start)].decode()
