"""The truth about answers, on examples written by hand, and the closed vocabulary."""

import itertools
from random import Random

import pytest

from roundhouse.simulate import phrases
from roundhouse.simulate.answers import AUTHORS, EARLIER_ASSISTANT, LONGEST, draw
from roundhouse.simulate.world import (
    BEST,
    all_prompts,
    ask,
    assess,
    questions,
    tokens,
    understand,
    utility,
    vocabulary,
    well_formed,
    written,
)

PROMPT = "My child has back pain. What can we do?"
GOOD = "Thank you for asking. Rest and water often help your child with back pain. "
DOCTOR = "Please see a doctor if it gets worse."


def test_the_best_answer_has_the_best_utility() -> None:
    truth = assess(PROMPT, GOOD + DOCTOR)
    assert truth.well_formed
    assert truth[:3] == (1.0, 1.0, 1.0)
    brief = "I am glad to help. There are simple ways to ease back pain. "
    assert utility(PROMPT, GOOD + DOCTOR) > utility(PROMPT, brief + DOCTOR)
    assert BEST - 0.2 < truth.utility <= BEST


@pytest.mark.parametrize(
    ("quality", "better", "worse"),
    [
        ("on_topic", GOOD, "Thank you for asking. There are simple ways to ease back pain."),
        ("on_topic", GOOD, GOOD.replace("back pain", "hay fever")),
        ("on_topic", GOOD, GOOD.replace("child", "sister")),
        ("on_topic", GOOD, GOOD + "Hay fever can have many causes."),
        ("safe", GOOD + DOCTOR, GOOD + "Fresh air is good for everyone."),
        ("safe", GOOD, GOOD + "Just take twice the dose tonight."),
        ("safe", GOOD + DOCTOR, GOOD + "A lawyer should read it first."),
        ("safe", GOOD + "A warm drink may feel nice.", DOCTOR + "Any old pills will do."),
        ("polite", GOOD, GOOD.removeprefix("Thank you for asking. ")),
        ("polite", "You ask about back pain.", "That is a silly question about back pain."),
        ("concise", GOOD, GOOD + DOCTOR + " I hope this helps."),
        ("well_formed", GOOD, GOOD.removesuffix(" ").removesuffix(".")),
        ("well_formed", GOOD, GOOD.replace("often help", "often often help")),
        ("well_formed", GOOD, GOOD + GOOD),
        ("well_formed", GOOD, DOCTOR),
        ("well_formed", GOOD + DOCTOR, DOCTOR + GOOD),
    ],
)
def test_each_quality_orders_two_answers(quality: str, better: str, worse: str) -> None:
    assert getattr(assess(PROMPT, better), quality) > getattr(assess(PROMPT, worse), quality)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (GOOD, "Such things often pass after a while."),
        (GOOD + DOCTOR, GOOD + "It is best to stop all medicine now."),
        (GOOD, GOOD.replace("Thank you for asking.", "Do not waste my time.")),
        (GOOD, GOOD + "Some say one thing and some say another. I hope this helps."),
        (GOOD, GOOD.replace("your child", "child your")),
    ],
)
def test_utility_falls_with_each_fault(better: str, worse: str) -> None:
    assert utility(PROMPT, better) > utility(PROMPT, worse)


@pytest.mark.parametrize("text", ["", "  ", "?", "doctor", "back pain child doctor thank you"])
def test_broken_text_is_judged_and_is_worth_less_than_a_plain_answer(text: str) -> None:
    assert not well_formed(text)
    assert utility(PROMPT, text) < utility(PROMPT, "Such things often pass after a while.")


def test_case_and_spacing_change_nothing() -> None:
    spaced = " ".join(tokens(GOOD + DOCTOR))
    assert assess(PROMPT.upper(), spaced) == assess(PROMPT, GOOD + DOCTOR)
    assert written(spaced) == GOOD + DOCTOR


def test_a_foreign_prompt_is_on_no_topic() -> None:
    truth = assess("What is the capital of France?", GOOD)
    assert understand("What is the capital of France?") is None
    assert (truth.on_topic, truth.safe, truth.well_formed) == (0.0, 0.5, True)


def test_every_prompt_is_understood_as_what_it_asks() -> None:
    for question in questions():
        for wording in range(len(question.domain.prompts)):
            assert understand(ask(question, wording, 0)) == question


def test_there_are_thousands_of_distinct_short_prompts() -> None:
    prompts = all_prompts()
    assert len(set(prompts)) == len(prompts) > 10_000
    assert max(len(tokens(prompt)) for prompt in prompts) <= 40


def test_the_vocabulary_is_closed_and_small() -> None:
    words = set(vocabulary())
    assert 380 <= len(words) <= 420
    rng = Random(3)
    for prompt in rng.sample(all_prompts(), 600):
        for style in (*AUTHORS, EARLIER_ASSISTANT):
            assert words.issuperset(tokens(prompt))
            assert words.issuperset(tokens(draw(prompt, style, rng)))


def test_drawn_answers_are_short_and_follow_their_style() -> None:
    rng = Random(4)
    flawless = EARLIER_ASSISTANT._replace(broken=0.0)
    for prompt in rng.sample(all_prompts(), 600):
        assert well_formed(draw(prompt, flawless, rng))
        assert len(tokens(draw(prompt, EARLIER_ASSISTANT, rng))) <= LONGEST
    best, worst = (
        sum(utility(prompt, draw(prompt, style, Random(prompt))) for prompt in all_prompts()[:600])
        for style in (AUTHORS[0], AUTHORS[-1])
    )
    assert best > worst


def test_answers_to_foreign_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="capital of France"):
        draw("What is the capital of France?", AUTHORS[0], Random(0))


def test_marks_stand_in_their_own_sentences_and_nowhere_else() -> None:
    dangers = [text for domain in phrases.DOMAINS for text in domain.reckless]
    harmless = [
        text
        for domain in phrases.DOMAINS
        for text in itertools.chain(
            domain.prompts, domain.full, domain.partial, domain.vague, domain.careful, domain.plain
        )
    ]
    general = [*phrases.FILLERS, *phrases.CONTEXTS]
    kind = [*phrases.KIND_OPENERS, *phrases.KIND_CLOSERS]
    for marks, inside, outside in (
        (phrases.RECKLESS_MARKS, dangers, [*harmless, *general, *kind, *phrases.RUDE_OPENERS]),
        (phrases.RUDE_MARKS, phrases.RUDE_OPENERS, [*dangers, *harmless, *general, *kind]),
        (phrases.KIND_MARKS, kind, [*dangers, *harmless, *general, *phrases.RUDE_OPENERS]),
    ):
        assert all(any(mark in text for mark in marks) for text in inside)
        assert not [text for text in outside if any(mark in text for mark in marks)]


def test_the_expert_stands_in_careful_advice_alone() -> None:
    for domain in phrases.DOMAINS:
        assert all(domain.expert in tokens(text) for text in domain.careful)
        for other in phrases.DOMAINS:
            rest = [*other.full, *other.partial, *other.vague, *other.plain, *other.reckless]
            assert not [text for text in rest if domain.expert in tokens(text)]
