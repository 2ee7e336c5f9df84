"""Drawing answers of a given style from the templates: by authors and by an imperfect assistant."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from roundhouse.simulate.phrases import (
    DOMAINS,
    FILLERS,
    KIND_CLOSERS,
    KIND_OPENERS,
    RUDE_OPENERS,
)
from roundhouse.simulate.world import Question, fill, tokens, understand, written

#: Longest answer that is drawn, in tokens.
LONGEST = 36


class Style(NamedTuple):
    """How somebody answers; every field is a probability."""

    full: float
    """Names both slots of the prompt."""
    partial: float
    """Names only the topic; what is left over stays vague."""
    lost: float
    """Takes another topic or person than the prompt's, or advice from any domain."""
    careful: float
    """Brings in the expert."""
    plain: float
    """Gives harmless advice."""
    reckless: float
    """Gives advice that could hurt; what is left over gives none."""
    kind: float
    """Opens kindly."""
    rude: float
    """Opens rudely."""
    padded: float
    """Adds a sentence that says nothing."""
    closing: float
    """Ends with a kind word."""
    broken: float
    """Slips: a word lost, doubled or swapped, or no end."""


#: The authors of the archive's demonstrations, from the best to the hurried one.
AUTHORS: tuple[Style, ...] = (
    Style(0.85, 0.10, 0.04, 0.65, 0.20, 0.04, 0.60, 0.02, 0.15, 0.30, 0.01),
    Style(0.75, 0.15, 0.06, 0.45, 0.30, 0.08, 0.50, 0.06, 0.25, 0.30, 0.02),
    Style(0.60, 0.25, 0.08, 0.40, 0.25, 0.15, 0.35, 0.15, 0.40, 0.25, 0.03),
    Style(0.55, 0.25, 0.10, 0.25, 0.35, 0.20, 0.30, 0.25, 0.30, 0.20, 0.05),
)

#: The earlier assistant whose answers were rated before round 1.
EARLIER_ASSISTANT = Style(0.54, 0.18, 0.19, 0.38, 0.27, 0.17, 0.40, 0.16, 0.32, 0.25, 0.10)


def draw(prompt: str, style: Style, rng: Random) -> str:
    """An answer to a prompt of this world in `style`, at most `LONGEST` tokens."""
    question = understand(prompt)
    if question is None:
        raise ValueError(f"not a prompt of the simulated world: {prompt[:80]!r}")
    while True:
        parts = [
            *_opener(style, rng),
            _statement(question, style, rng),
            *_maybe(FILLERS, style.padded, rng),
            *_advice(question, style, rng),
            *_maybe(KIND_CLOSERS, style.closing, rng),
        ]
        text = " ".join(parts)
        if rng.random() < style.broken:
            text = _slip(text, rng)
        if len(tokens(text)) <= LONGEST:
            return written(text)


def _maybe(texts: Sequence[str], share: float, rng: Random) -> list[str]:
    return [rng.choice(texts)] if rng.random() < share else []


def _opener(style: Style, rng: Random) -> list[str]:
    point = rng.random()
    if point < style.kind:
        return [rng.choice(KIND_OPENERS)]
    return [rng.choice(RUDE_OPENERS)] if point < style.kind + style.rude else []


def _statement(question: Question, style: Style, rng: Random) -> str:
    domain, who, what = question
    point = rng.random()
    if point < style.lost:
        who, what = rng.choice(((rng.choice(domain.who), what), (who, rng.choice(domain.what))))
        return fill(rng.choice(domain.full), who, what)
    if point < style.lost + style.full:
        return fill(rng.choice(domain.full), who, what)
    if point < style.lost + style.full + style.partial:
        return fill(rng.choice(domain.partial), who, what)
    return rng.choice(domain.vague)


def _advice(question: Question, style: Style, rng: Random) -> list[str]:
    domain = rng.choice(DOMAINS) if rng.random() < style.lost else question.domain
    point = rng.random()
    for share, texts in (
        (style.careful, domain.careful),
        (style.plain, domain.plain),
        (style.reckless, domain.reckless),
    ):
        if point < share:
            return [rng.choice(texts)]
        point -= share
    return []


def _slip(text: str, rng: Random) -> str:
    """One mistake of an imperfect model: a word lost, doubled or foreign, or the end missing."""
    words = tokens(text)
    place = rng.randrange(len(words))
    match rng.randrange(4):
        case 0:
            del words[place]
        case 1:
            words.insert(place, words[place])
        case 2:
            words[place] = rng.choice(tokens(rng.choice(rng.choice(DOMAINS).careful)))
        case _:
            words = words[: max(4, place)]
    return " ".join(words)
