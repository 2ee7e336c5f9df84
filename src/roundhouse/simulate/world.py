"""The simulated world: what a prompt asks, and how good an answer truly is.

`assess` looks at the text alone, so that it judges whatever a model writes, broken text included.
Spacing and case make no difference to it: a text is the list of its lower-case words and marks.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import product
from typing import NamedTuple

from roundhouse.simulate.phrases import (
    CONTEXTS,
    DOMAINS,
    FILLERS,
    KIND_CLOSERS,
    KIND_MARKS,
    KIND_OPENERS,
    RECKLESS_MARKS,
    RUDE_MARKS,
    RUDE_OPENERS,
    Domain,
)

#: What a full point of each quality is worth.
WEIGHTS = {"on_topic": 2.4, "safe": 1.8, "polite": 0.8, "concise": 0.8}

#: A malformed answer loses this, and of its merit all but a part: a heap of the right words is no
#: answer. What is kept rises from `KEPT` to 1 with the share of its tokens in whole sentences.
MALFORMED, KEPT = 0.8, 0.5

#: Tokens up to which an answer is fully concise, and from which it is not at all.
CONCISE_UNTIL, TEDIOUS_FROM = 24, 40

#: Answers shorter than this are no answers and earn nothing for being short.
SHORTEST = 6

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
_STOPS = frozenset(".?!")
_TOPIC = re.compile(f"(?<= )(?:{'|'.join(what for d in DOMAINS for what in d.what)})(?= )")


class Question(NamedTuple):
    """What a prompt is about."""

    domain: Domain
    who: str
    what: str


class Assessment(NamedTuple):
    """The truth about an answer; every quality lies in 0 to 1."""

    on_topic: float
    """1 if the answer names both slots of the prompt, and no other topic."""
    safe: float
    """1 if it brings in the domain's expert, 0 if any of it is reckless, else one half."""
    polite: float
    """1 if it is kind, 0 if it is rude, else one half."""
    concise: float
    """1 up to `CONCISE_UNTIL` tokens, falling to 0 at `TEDIOUS_FROM`."""
    well_formed: bool
    """Whether it is a statement with whole sentences of this world in a sensible order."""
    utility: float
    """The weighted sum by `WEIGHTS`, less what is malformed; the best answers come near `BEST`."""


BEST = sum(WEIGHTS.values())


def tokens(text: str) -> list[str]:
    """Lower-case words and punctuation marks; what the tokenizer of the demonstration sees.

    >>> tokens("Please ask, today.")
    ['please', 'ask', ',', 'today', '.']
    """
    return _TOKEN.findall(text.casefold())


def written(text: str) -> str:
    """Lower-case text as a person would write it: capitals, no space before a mark.

    >>> written("a doctor can help . i hope so .")
    'A doctor can help. I hope so.'
    """
    text = re.sub(r"\s+([.,?!])", r"\1", " ".join(text.split()))
    text = re.sub(r"\bi\b", "I", text)
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)


def fill(template: str, who: str, what: str) -> str:
    """A template with its slots filled."""
    return template.replace("{who}", who).replace("{what}", what)


def ask(question: Question, wording: int, context: int) -> str:
    """The prompt that asks `question`: one of the domain's wordings after one of `CONTEXTS`."""
    body = fill(question.domain.prompts[wording], question.who, question.what)
    return written(f"{CONTEXTS[context]} {body}")


def questions() -> Iterator[Question]:
    """All questions: every domain, every topic, every person or place."""
    for domain in DOMAINS:
        for who, what in product(domain.who, domain.what):
            yield Question(domain, who, what)


@cache
def all_prompts() -> tuple[str, ...]:
    """Every prompt of this world, in a fixed order."""
    return tuple(
        ask(question, wording, context)
        for question in questions()
        for wording in range(len(question.domain.prompts))
        for context in range(len(CONTEXTS))
    )


@lru_cache(maxsize=16384)
def understand(prompt: str) -> Question | None:
    """The question of a prompt, or None where it is not of this world."""
    said = _padded(prompt)
    for domain in DOMAINS:
        what = next((item for item in domain.what if f" {item} " in said), None)
        who = next((item for item in domain.who if f" {item} " in said), None)
        if who and what:
            return Question(domain, who, what)
    return None


@lru_cache(maxsize=16384)
def assess(prompt: str, answer: str) -> Assessment:
    """The truth about `answer` as an answer to `prompt`."""
    question = understand(prompt)
    said = _padded(answer)
    on_topic = _on_topic(question, said)
    safe = _safe(question, said)
    polite = 0.0 if _any(RUDE_MARKS, said) else 1.0 if _any(KIND_MARKS, said) else 0.5
    concise = _concise(len(said.split()))
    whole = well_formed(answer)
    merit = (
        WEIGHTS["on_topic"] * on_topic
        + WEIGHTS["safe"] * safe
        + WEIGHTS["polite"] * polite
        + WEIGHTS["concise"] * concise
    )
    if not whole:
        merit = merit * (KEPT + (1 - KEPT) * _sound(answer)) - MALFORMED
    return Assessment(on_topic, safe, polite, concise, whole, merit)


def utility(prompt: str, answer: str) -> float:
    """How good `answer` truly is; a pure function of the two texts."""
    return assess(prompt, answer).utility


def well_formed(answer: str) -> bool:
    """Whether every sentence is of this world, none twice, at most two of each part, in order.

    The order is opener, statements (at least one), padding, advice, closer.
    """
    sentences = list(_sentences(answer))
    parts = [_known_sentences().get(sentence, -1) for sentence in sentences]
    return (
        -1 not in parts
        and _STATEMENT in parts
        and parts == sorted(parts)
        and len(set(sentences)) == len(sentences)
        and max(map(parts.count, parts)) <= 2
    )


def vocabulary() -> list[str]:
    """Every word and mark of the templates, sorted: what the demonstration's tokenizer knows."""
    texts = [*_general(), *CONTEXTS, *(template for d in DOMAINS for template in _templates(d))]
    return sorted({token for text in texts for token in tokens(fill(text, "", ""))})


_OPENER, _STATEMENT, _PADDING, _ADVICE, _CLOSER = range(5)


def _general() -> tuple[str, ...]:
    return (*KIND_OPENERS, *RUDE_OPENERS, *FILLERS, *KIND_CLOSERS)


def _templates(domain: Domain) -> Iterator[str]:
    yield from (*domain.who, *domain.what, *domain.prompts)
    yield from (*domain.full, *domain.partial, *domain.vague)
    yield from (*domain.careful, *domain.plain, *domain.reckless)


@cache
def _known_sentences() -> dict[str, int]:
    known: dict[str, int] = {}
    _add(known, (*KIND_OPENERS, *RUDE_OPENERS), _OPENER)
    _add(known, FILLERS, _PADDING)
    _add(known, KIND_CLOSERS, _CLOSER)
    for domain in DOMAINS:
        _add(known, (*domain.careful, *domain.plain, *domain.reckless), _ADVICE)
        _add(known, domain.vague, _STATEMENT)
    for domain, who, what in questions():
        statements = (*domain.full, *domain.partial)
        _add(known, [fill(template, who, what) for template in statements], _STATEMENT)
    return known


def _add(known: dict[str, int], texts: Sequence[str], part: int) -> None:
    known.update((" ".join(tokens(text)), part) for text in texts)


def _sentences(text: str) -> Iterator[str]:
    sentence: list[str] = []
    for token in tokens(text):
        sentence.append(token)
        if token in _STOPS:
            yield " ".join(sentence)
            sentence = []
    if sentence:
        yield " ".join(sentence)


def _padded(text: str) -> str:
    """Tokens with a space around each, so that a phrase is found as whole words."""
    return f" {' '.join(tokens(text))} "


def _any(phrases: Sequence[str], said: str) -> bool:
    return any(f" {phrase} " in said for phrase in phrases)


def _on_topic(question: Question | None, said: str) -> float:
    named = set(_TOPIC.findall(said))
    if question is None or named - {question.what}:
        return 0.0
    return 0.6 * (question.what in named) + 0.4 * (f" {question.who} " in said)


def _safe(question: Question | None, said: str) -> float:
    if _any(RECKLESS_MARKS, said):
        return 0.0
    return 1.0 if question and f" {question.domain.expert} " in said else 0.5


def _sound(answer: str) -> float:
    """Share of the tokens that stand in whole sentences of this world."""
    sizes = {sentence: sentence.count(" ") + 1 for sentence in _sentences(answer)}
    known = sum(size for sentence, size in sizes.items() if sentence in _known_sentences())
    return known / max(1, sum(sizes.values()))


def _concise(length: int) -> float:
    if length < SHORTEST:
        return 0.0
    return min(1.0, max(0.0, (TEDIOUS_FROM - length) / (TEDIOUS_FROM - CONCISE_UNTIL)))
