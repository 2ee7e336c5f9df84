"""Who does not look: one finding a rater, from habits, the peers' votes, check items and collusion.

Several kinds of evidence, each against what is usual in the pool (`pool`), so that a rater who is
only a little worse than the best is nobody's spammer:

- **fixed**: the answer shown first (or second) chosen far more than others choose it; ties far more
  often; long runs of one side.
- **random**: names the better answer less often than the others do, by the peers' votes on the same
  items and on check items (independent sets of items, so their chances are combined by Fisher's
  method).
- **colluding**: member of a group that agrees beyond the model and beyond what is usual
  (`collusion`).
- **habit**: longer answers, haste, few changes of side, contradictions (`conspicuous`). Odd, but no
  sign by itself that votes say nothing.

All but the groups are tested for every rater and corrected together (Benjamini-Hochberg). Groups
are one test of the whole pool. Significance is not enough: with thousands of votes a trifle is
significant, so a finding also needs an effect that matters in training.

A **view** is no spam: a group that agrees beyond the model, but not closer than others do, and does
not fail check items. A view that nobody shares looks like chance, since a finding says how votes
look and not why. A person decides.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters import collusion, conspicuous, pool
from roundhouse.raters.change import benjamini_hochberg
from roundhouse.raters.conspicuous import Telling
from roundhouse.raters.habits import Habits, habits
from roundhouse.raters.reliability import dawid_skene
from roundhouse.raters.table import SECOND, latest, needs, shares

Kind = Literal["clear", "unknown", "view", "habit", "fixed", "random", "colluding"]
Floats = NDArray[np.float64]

#: Part of the pool's knowledge (accuracy above chance) that a rater must lack for it to matter.
LACKING = 0.25
#: Level of the test for groups in the whole pool, and of naming a group among raters found anyway.
GROUP_P, NAME_P = 0.01, 0.05
#: Below this chance a rater fails the check items, and a group's view is no excuse.
CHECK_P = 0.01


class Skill(NamedTuple):
    """How far each rater names the better answer; NaN where the data cannot tell.

    raters: names, sorted; accuracy: [raters] by the peers' votes; error: [raters] its standard
    error; usual: the pool's accuracy on the same scale; p: [raters] chance of so low a figure.
    """

    raters: list[str]
    accuracy: Floats
    error: Floats
    usual: float
    p: Floats


class Finding(NamedTuple):
    """One rater.

    Attributes:
        rater: the pseudonym.
        kind: `clear`, or what the votes look like; `view` where they look random, though not on
            check items, and a group shares them; `unknown` where no test could be made.
        fixed: chance that a rater like the others shows such habits; NaN where unknown.
        habit: the same for such odd ways of working.
        random: the same for naming the better answer so seldom.
        colluding: chance of a group like the rater's in a pool without collusion; NaN without one.
        evidence: in words, for what was found.
    """

    rater: str
    kind: Kind
    fixed: float
    habit: float
    random: float
    colluding: float
    evidence: list[str]

    @property
    def flagged(self) -> bool:
        """Whether the votes look like those of someone who does not judge for themselves."""
        return self.kind in ("fixed", "random", "colluding")


class _Case(NamedTuple):
    """What is known of one rater before the correction; checks: chance on check items alone; lack:
    part of the pool's knowledge that is missing; NaN where unknown."""

    fixed: Telling
    loose: Telling
    random: float
    checks: float
    lack: float
    words: list[str]


def findings(
    votes: pd.DataFrame, rate: float = 0.05, draws: int = 199, seed: int = 0
) -> list[Finding]:
    """One finding for every rater of a tidy table, sorted by name.

    Args:
        votes: a tidy table, of one round or of all.
        rate: false discovery rate over raters and kinds of evidence.
        draws: simulated pools behind the test for groups.
        seed: of those draws.

    Raises:
        DataError: item, rater, label or gold is missing, or a column of numbers is none.
    """
    told = [name for name in ("at", "position", "longer", "seconds") if name in votes]
    needs(votes, "item", "rater", "label", "gold", *told)
    cases = _cases(votes)
    names = list(cases)
    p = np.array([[c.fixed.p, c.random, c.loose.p] for c in cases.values()]).reshape(-1, 3)
    known = np.isfinite(p)
    passed = np.zeros(p.shape, bool)
    passed[known] = benjamini_hochberg(p[known], rate)
    matters = [(c.fixed.odd, c.lack >= LACKING, c.loose.odd) for c in cases.values()]
    fixed, random, habit = (passed & np.array(matters, bool).reshape(-1, 3)).T
    suspects = [name for k, name in enumerate(names) if random[k] and not fixed[k]]
    grouped = _grouped(votes, suspects, draws, seed)
    return [
        _finding(name, cases[name], (fixed[k], random[k], habit[k]), grouped.get(name))
        for k, name in enumerate(names)
    ]


def skill(votes: pd.DataFrame) -> Skill:
    """Each rater's accuracy as their peers see it, by one step from the pool's (a score test).

    For each decided vote the posterior of its item is taken without that vote (Dawid and Skene's
    model, symmetric in the labels): the vote agrees with probability a q + (1 - a)(1 - q). One
    Newton step from the pool's a, with the expected information, gives the estimate: unlike the
    model's own accuracy it is not drawn towards the pool, and a vote is no evidence for itself.
    Votes on items that nobody else decided carry no information; the pairs of a ranking carry that
    of as many votes as they are worth.

    Raises:
        DataError: item, rater or label is missing.
    """
    needs(votes, "item", "rater", "label")
    votes = latest(votes[votes["label"] <= SECOND])
    fit = dawid_skene(votes, labels=2, symmetric=True)
    rater = pd.Categorical(votes["rater"].astype(str), categories=fit.raters).codes
    item = pd.factorize(votes["item"], sort=True)[0]
    label = votes["label"].to_numpy(np.int64)
    odds = np.log(fit.soft[item, 0] / np.maximum(fit.soft[item, 1], 1e-300))
    odds -= np.log(fit.confusion[rater, 0, label] / fit.confusion[rater, 1, label])
    lean = np.tanh(np.clip(odds, -30, 30) / 2)  # 2 q - 1
    chance = np.clip((1 + (2 * fit.pool - 1) * lean) / 2, 1e-6, 1 - 1e-6)
    spread = chance * (1 - chance)
    raters, share = len(fit.raters), shares(votes)
    gradient = np.bincount(rater, share * (lean * ((label == 0) - chance) / spread), raters)
    told = np.bincount(rater, share * (lean**2 / spread), raters)
    some = np.where(told > 1.0, told, np.nan)
    accuracy, error = fit.pool + gradient / some, 1 / np.sqrt(some)
    place = pool.standing(accuracy, error)
    return Skill(fit.raters, accuracy, error, place.usual, place.low)


def _cases(votes: pd.DataFrame) -> dict[str, _Case]:
    every = habits(votes)
    names = list(every)
    # Check items and the others apart: two independent tests of one thing.
    gold, rest = votes[votes["gold"] >= 0], votes[votes["gold"] < 0]
    peers = skill(rest)
    by_peers = {name: k for k, name in enumerate(peers.raters)}
    who = pd.Categorical(gold["rater"].astype(str), categories=names).codes
    right = (gold["label"] == gold["gold"]).to_numpy(bool)
    size = np.bincount(who, minlength=len(names)).astype(np.int64)
    hits = np.bincount(who[right], minlength=len(names)).astype(np.int64)
    tests = pool.share_tests(hits, size)
    cases = {}
    for k, name in enumerate(names):
        place = by_peers.get(name)
        seen = (math.nan, math.nan, peers.usual)
        if place is not None:
            seen = (float(peers.p[place]), float(peers.accuracy[place]), peers.usual)
        checked = (float(tests.low[k]), int(hits[k]), int(size[k]), float(tests.usual[k]))
        cases[name] = _case(every[name], seen, checked)
    return cases


def _case(
    habit: Habits, seen: tuple[float, float, float], checked: tuple[float, int, int, float]
) -> _Case:
    (p_peers, accuracy, usual), (p_gold, right, size, usual_gold) = seen, checked
    lacks, words = [], []
    if math.isfinite(p_peers):
        lacks.append(_lack(accuracy, usual))
        words.append(
            f"right on {accuracy:.2f} by the peers' votes, usual {usual:.2f} (p {p_peers:.2g})"
        )
    if math.isfinite(p_gold):
        lacks.append(_lack(right / size, usual_gold))
        words.append(
            f"{right} of {size} check items right, usual {usual_gold:.2f} (p {p_gold:.2g})"
        )
    lack = math.fsum(lacks) / len(lacks) if lacks else math.nan
    random = pool.fisher(np.array([p_peers, p_gold]))
    return _Case(conspicuous.fixed(habit), conspicuous.loose(habit), random, p_gold, lack, words)


def _lack(accuracy: float, usual: float) -> float:
    """Part of what the pool knows beyond chance that this rater does not."""
    return 1 - (accuracy - 0.5) / max(usual - 0.5, 0.01)


def _grouped(
    votes: pd.DataFrame, suspects: list[str], draws: int, seed: int
) -> dict[str, collusion.Group]:
    """Each member's group, of the whole pool's or of those among raters suspected anyway.

    The suspects were not chosen for agreeing with each other, so few of them make few groups to
    look at, and two or three who copy can be named.
    """
    found = collusion.groups(votes, GROUP_P, draws, seed)
    taken = {name for group in found for name in group.members}
    rest = [name for name in suspects if name not in taken]
    if len(rest) >= 2:
        # A name is all that these are for: a loose group of suspects is no excuse for any of them.
        named = collusion.groups(votes, NAME_P, draws, seed, among=rest)
        found += [group for group in named if group.closer_than_usual]
    return {name: group for group in found for name in group.members}


def _finding(
    name: str, case: _Case, seen: tuple[bool, bool, bool], group: collusion.Group | None
) -> Finding:
    fixed, random, habit = seen
    kind: Kind = "clear"
    if fixed:
        kind = "fixed"
    elif group is not None and group.closer_than_usual:
        kind = "colluding"
    elif random:
        # NaN, no check items, is no failure.
        kind = "random" if group is None or case.checks < CHECK_P else "view"
    elif habit:
        kind = "habit"
    elif math.isnan(case.fixed.p) and math.isnan(case.random):
        kind = "unknown"
    words = []
    if kind not in ("clear", "unknown"):
        words = [*case.fixed.words, *case.loose.words, *case.words]
        if group is not None and kind != "habit":
            words.insert(
                0,
                f"one of {len(group.members)} who agree in {group.inside:.2f} of {group.pairs} "
                f"pairs of votes; what they know explains {group.expected:.2f}, usual is "
                f"{group.usual:.2f} (p {group.p:.2g})",
            )
    chance = group.p if group is not None else math.nan
    return Finding(name, kind, case.fixed.p, case.loose.p, case.random, chance, words)
