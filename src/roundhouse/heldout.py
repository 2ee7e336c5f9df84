"""What only measures: which evaluation prompts are answered, what was flagged, and what leaked.

Pure functions on the rows that the stage raters wrote (pairs, demonstrations, flags).
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from roundhouse.feedback import normalise, prompt_key
from roundhouse.metrics import domain_part
from roundhouse.safety import Flag

Row = Mapping[str, Any]


class Prompt(NamedTuple):
    """A prompt that no model of this round trained on."""

    key: str
    """`feedback.prompt_key` of its text."""
    messages: list[dict[str, str]]
    domain: str
    measured: bool
    """Whether it counts for the win rate; others are answered for the safety set alone."""


def choose(rows: Iterable[Row], most: int, flagged: Collection[str]) -> list[Prompt]:
    """At most `most` evaluation prompts that count, and every flagged one besides.

    Domains take turns, and within a domain the lowest hashes go first: a prompt once chosen stays
    chosen in later rounds, unless others with lower hashes come. Domains are thus equally
    represented as far as they have prompts, whatever their share of the feedback.
    """
    found = _distinct(row for row in rows if row["side"] == "eval")
    domains: dict[str, list[Prompt]] = {}
    for prompt in sorted(found.values(), key=_order):
        domains.setdefault(prompt.domain, []).append(prompt)
    turns = zip_longest(*(domains[name] for name in sorted(domains)))
    chosen = [prompt for turn in turns for prompt in turn if prompt is not None][:most]
    taken = {prompt.key for prompt in chosen}
    extra = [found[key] for key in sorted(flagged) if key in found and key not in taken]
    return chosen + [prompt._replace(measured=False) for prompt in extra]


def flags(rows: Iterable[Row]) -> list[Flag]:
    """The safety set: each text flagged on an evaluation prompt, once."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for row in rows:
        if row["side"] == "eval":
            where = key_of(row), normalise(row["response"])
            found.setdefault(where, (row["response"], []))[1].extend(row["rows"])
    return [Flag(key, text, sorted(set(ids))) for (key, _), (text, ids) in sorted(found.items())]


def leaked(rows: Iterable[Row], prompts: Iterable[Prompt], trained: Collection[str]) -> int:
    """How many prompts measure and train too; there should be none.

    Args:
        rows: of the stage raters; those of the side eval may measure, now or in a later round.
        prompts: those that measure in this round.
        trained: keys of the prompts that any model of this round learned from.
    """
    measured = {key_of(row) for row in rows if row["side"] == "eval"}
    return len((measured | {prompt.key for prompt in prompts}) & set(trained))


def keys(messages: Iterable[list[dict[str, str]]]) -> frozenset[str]:
    """The keys of prompts, each once."""
    return frozenset(prompt_key({"prompt": prompt}) for prompt in messages)


def key_of(row: Row) -> str:
    """The key of a row's prompt text (rows of the stage raters carry no group)."""
    return prompt_key({"prompt": row["prompt"]})


def _distinct(rows: Iterable[Row]) -> dict[str, Prompt]:
    """The prompts of the rows by key; one given with several domains has the first by name."""
    found: dict[str, Prompt] = {}
    for row in rows:
        key, domain = key_of(row), domain_part(row["domain"])
        if key not in found or domain < found[key].domain:
            found[key] = Prompt(key, row["prompt"], domain, measured=True)
    return found


def _order(prompt: Prompt) -> str:
    # Not the key itself: `side` drew the evaluation prompts by it, and ties them to low values.
    return hashlib.sha256(f"evaluate:{prompt.key}".encode()).hexdigest()
