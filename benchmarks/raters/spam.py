"""Raters who do not look: how many are found, how many honest ones are accused.

Fifty raters, 200 votes each, three in ten items seen by three people; 5, 10 and 20 % of the raters
(3, 5 and 10) choose by place, by a coin, or as their group agreed, from the first round on.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.raters.case import Case, Figure, share
from roundhouse.raters import spam
from roundhouse.simulate.votes import Fault, Kind, Pool, draw

#: Share of the raters to their number among fifty.
PARTS = {"5 %": 3, "10 %": 5, "20 %": 10}
#: Kind of spammer to the share of them that is to be found.
AIMS: dict[Kind, float] = {"fixed": 0.9, "random": 0.7, "collude": 0.7}
#: What the finding is called.
NAMES: dict[Kind, spam.Kind] = {"fixed": "fixed", "random": "random", "collude": "colluding"}


def spammers(pool: Pool, kind: Kind, count: int, part: float = 1.0) -> Callable[..., list[Figure]]:
    """A case's run: `count` raters drawn anew in each replicate, spam in `part` of their votes."""

    def run(replicates: int, seed: int) -> list[Figure]:
        found, named, accused = [], [], []
        for replicate in range(replicates):
            state = [seed, replicate]
            bad = np.random.default_rng(state).choice(pool.raters, count, replace=False)
            fault = Fault([int(one) for one in bad], kind, share=part)
            votes = draw(pool, 1, seed * 100_000 + replicate, [fault]).votes
            findings = spam.findings(votes, seed=replicate)
            theirs = [findings[k] for k in bad]
            found.append(sum(one.flagged for one in theirs) / count)
            named.append(sum(one.kind == NAMES[kind] for one in theirs) / count)
            flagged = sum(one.flagged for one in findings) - sum(one.flagged for one in theirs)
            accused.append(flagged / (pool.raters - count))
        aimed = part == 1.0
        return [
            share("found", found, f">= {AIMS[kind]}" if aimed else ""),
            share("named rightly", named),
            share("honest accused", accused, "<= 0.05"),
        ]

    return run


def nobody(pool: Pool) -> Callable[[int, int], list[Figure]]:
    """A case's run without spammers."""

    def run(replicates: int, seed: int) -> list[Figure]:
        accused, any_ = [], []
        for replicate in range(replicates):
            votes = draw(pool, 1, seed * 100_000 + replicate).votes
            flagged = sum(one.flagged for one in spam.findings(votes, seed=replicate))
            accused.append(flagged / pool.raters)
            any_.append(float(flagged > 0))
        return [share("honest accused", accused, "<= 0.05"), share("rounds with one", any_)]

    return run


CASES: list[Case] = [
    Case(f"spam: nobody{words}", nobody(pool), 0.4)
    for words, pool in (("", Pool()), (", no check items", Pool(gold=0)))
] + [
    Case(
        f"spam: {part} {kind}{words}", spammers(pool, kind, count, each), 0.4 if each == 1 else 0.15
    )
    for words, pool, each in (
        ("", Pool(), 1.0),
        (", no check items", Pool(gold=0), 1.0),
        (", in half of the votes", Pool(), 0.5),
        (", in half of the votes, no check items", Pool(gold=0), 0.5),
    )
    for kind in AIMS
    for part, count in PARTS.items()
]
