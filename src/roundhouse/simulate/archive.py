"""What the simulated team hands in: the archive of round 1, then each later round's ratings.

Everything is a pure function of the settings, the seed and the round's number.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from random import Random

from roundhouse.feedback import Row, Side, on_panel, prompt_key, side
from roundhouse.settings import Settings, SplitSettings
from roundhouse.simulate.answers import AUTHORS, EARLIER_ASSISTANT, draw
from roundhouse.simulate.rating import Pair, work
from roundhouse.simulate.team import REGIONS, Rater
from roundhouse.simulate.week import FIRST_MONDAY, Week, numbered
from roundhouse.simulate.world import all_prompts

#: Who wrote the archive's demonstrations, and over how many weeks before round 1.
AUTHOR_COUNT, AUTHOR_WEEKS = 8, 12

#: Share of the demonstrations on evaluation prompts, which measure the tuned model and never train.
HELD_OUT = 0.03


def archive(settings: Settings, seed: int) -> Iterator[Row]:
    """The rows of round 1, in the order of time.

    First `simulate.archive_demonstrations` demonstrations by several authors, then
    `simulate.archive_pairs` pairs of an earlier assistant's answers, rated as in later rounds.
    """
    yield from numbered(_archive(settings, seed), round_number=1)


def rate(
    pairs: Iterable[Pair], settings: Settings, round_number: int, seed: int, policy: str
) -> Iterator[Row]:
    """The rows of a later round, in the order of time: the team's view of pairs of answers.

    Args:
        pairs: prompt, one answer, another answer. Pairs that nobody could judge (an empty answer,
            or twice the same) are left out.
        settings: of the round; `simulate` and `split` are used.
        round_number: 2 or more; it sets week, ids and drift.
        seed: of the round.
        policy: name of what wrote the answers, such as `round-0001`.
    """
    week = Week(round_number, Random(f"{seed}/{round_number}/week"))
    work(week, pairs, settings, round_number, seed, policy)
    yield from numbered(week.rows(), round_number)


def prompts(settings: Settings, count: int, seed: int, only: Side | None = None) -> list[str]:
    """Prompts of the world in random order, each once until all were used.

    Args:
        settings: `split` decides which side a prompt is on.
        count: how many.
        seed: another seed, another order.
        only: takes prompts of this side alone.
    """
    pool = [text for text in all_prompts() if not only or _side(text, settings.split) == only]
    rng = Random(f"{seed}/prompts/{only}")
    drawn: list[str] = []
    while pool and len(drawn) < count:
        drawn += rng.sample(pool, min(len(pool), count - len(drawn)))
    return drawn


def _archive(settings: Settings, seed: int) -> Iterator[Row]:
    yield from _demonstrations(settings, seed)
    week = Week(1, Random(f"{seed}/1/week"))
    work(week, _earlier_pairs(settings, seed), settings, 1, seed, policy="archive")
    yield from week.rows()


def _demonstrations(settings: Settings, seed: int) -> Iterator[Row]:
    rng = Random(f"{seed}/demonstrations")
    week = Week(1, rng)
    count = settings.simulate.archive_demonstrations
    held_out = round(HELD_OUT * count)
    asked = prompts(settings, count - held_out, seed, only="train")
    asked += prompts(settings, held_out, seed, only="eval")
    authors = _authors(settings.split)
    for prompt in asked:
        number = rng.randrange(len(authors))
        answer = draw(prompt, AUTHORS[number % len(AUTHORS)], rng)
        week.add(authors[number], "demonstration", prompt, response=answer)
    yield from week.rows(monday=FIRST_MONDAY - timedelta(weeks=AUTHOR_WEEKS))


def _authors(split: SplitSettings) -> list[Rater]:
    """Authors who are not on the judge's panel, as far as there are any."""
    names = [f"author-{number:02d}" for number in range(1, 10 * AUTHOR_COUNT)]
    off_panel = [name for name in names if not on_panel(name, split)] or names
    regions = list(REGIONS)
    return [
        Rater(name, regions[number % len(regions)], 1.0, 0.0, 0.0, 0.0, pace=80.0)
        for number, name in enumerate(off_panel[:AUTHOR_COUNT])
    ]


def _earlier_pairs(settings: Settings, seed: int) -> Iterator[Pair]:
    rng = Random(f"{seed}/earlier")
    for prompt in prompts(settings, settings.simulate.archive_pairs, seed):
        answers = {draw(prompt, EARLIER_ASSISTANT, rng): None}
        while len(answers) < 2:
            answers[draw(prompt, EARLIER_ASSISTANT, rng)] = None
        first, second = answers
        yield prompt, first, second


def _side(prompt: str, split: SplitSettings) -> Side:
    return side(prompt_key({"prompt": prompt}), split)
