"""A round's raters in sentences, from their story (`raters/story.py`), where they stand under keys.

Nothing here is markup, and nothing is escaped.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

#: States by how soon somebody should look.
STATES = ("suspended", "watch", "minority", "ok")
#: What people call raters in a state, the gravest first.
CALLED = {"suspended": "suspended", "watch": "watched", "minority": "with a view of their own"}
#: A region's loss of its share that is not worth a word.
SLIGHT = 0.05
#: Chance in a piece of evidence.
_CHANCE = re.compile(r"\(p (\d[\d.]*(?:e-?\d+)?)\)")
#: Evidence with a chance of its own.
_OWN = re.compile(r"votes changed|\d+ of \d+ check items right")
#: Begin findings over all raters at once: one group of the pool, the others held to a share of
#: false ones. The chances in such evidence are those before that.
_GROUP = "votes look colluding"
_CORRECTED = ("votes look", "an odd way of working", "a view that a group shares")


def happened(number: int, story: Record) -> list[str]:
    """What happened in the round, in sentences without markup; the first is the pool's verdict."""
    newest = story["newest"]
    said = [pool_sentence(story)] if story["raters"] else ["Nobody rated anything so far."]
    if newest is None:
        return said
    votes = sum(
        e["votes"] for one in story["raters"] for e in one["rounds"] if e["round"] == newest
    )
    present = sum(one["last"] == newest for one in story["raters"])
    when = "this round" if newest == number else f"round {newest}, the last one with votes"
    said.append(f"In {when}, {counted(present, 'rater')} gave {counted(votes, 'vote')}.")
    said += _agree(story)
    said.append(_states(story))
    low = sum(
        e["votes"] for one in story["raters"] for e in one["rounds"]
        if e["round"] == newest and e["state"] in ("watch", "suspended")
    )  # fmt: skip
    if low and story["weighting"] == "reliability":
        said.append(f"Their states lower the weight of {share(low / votes)} of these votes.")
    return said + _moved(story)


def chance(evidence: Sequence[str]) -> str:
    """How sure findings are, as a sentence; empty where they do not say.

    >>> chance(["votes changed: ... (p 0.00042)"])
    'By chance this happens to about one honest rater in 2,400 a round.'
    """
    own = [float(p) for words in evidence if _OWN.match(words) for p in _CHANCE.findall(words)]
    if own:
        return f"By chance this happens to about one honest rater in {_many(min(own))} a round."
    if _GROUP in evidence:
        [group] = _CHANCE.findall(evidence[evidence.index(_GROUP) + 1])
        return f"By chance such a group is found in about one round in {_many(float(group))}."
    if any(words.startswith(_CORRECTED) for words in evidence):
        return "All raters were tested at once; of such findings about one in twenty is wrong."
    return ""


def _many(p: float) -> str:
    """In how many it happens once; two figures are enough."""
    return "a million or more" if p < 1e-6 else f"{int(float(f'{1 / p:.2g}')):,}"


def pool_sentence(story: Record) -> str:
    """What became of the pool as a whole."""
    pool, [compared] = story["pool"], story["agreement"]["all"]
    rounds = [one["name"] for one in story["agreement"]["round"]]
    if pool["message"]:
        waits = " Training waits until a person accepts it." if pool["state"] == "block" else ""
        return f"{sentence(pool['message'])}{waits}"
    if not compared["votes"]:
        return "There is no comparison of two answers so far, and agreement is looked at on those."
    if not compared["agreement"]["widest"]:
        return (
            "No two raters compared the same pair of answers, so nothing can be said about how far "
            "they agree."
        )
    if len(rounds) < 2:
        return "Answers were compared in one round so far: there is nothing to hold that against."
    before, now = rounds[-2:]
    if pool["change"] is None:
        return (
            f"Too few comparisons of the same pairs in round {before} or {now} to say whether "
            "raters agree less than before."
        )
    value, low, high = pool["change"]
    return (
        f"Agreement beyond chance (alpha) changed by {value:+.2f} ({low:+.2f} to {high:+.2f}) "
        f"from round {before} to round {now}: no fall that calls for a look."
    )


def perhaps_why(story: Record) -> list[str]:
    """Beside an alarm of the pool: how many raters the tests found in the newest round."""
    found = sum(
        one["last"] == story["newest"] and _tested(one) in ("watch", "suspended")
        for one in story["raters"]
    )
    if not found:
        return []
    change = story["pool"]["change"]
    what = "fall" if change and change[2] < 0 else "change"
    verb = "looks" if found == 1 else "look"
    return [
        f"{counted(found, 'rater')} below changed or {verb} odd in this round; that alone may "
        f"explain the {what}."
    ]


def _tested(one: Record) -> str:
    """The state that the tests gave, whatever a person said."""
    return str((one.get("word") or {"was": one["state"]})["was"])


def counts(story: Record) -> dict[str, int]:
    """State to number of raters, of the states other than ok."""
    found = Counter(one["state"] for one in story["raters"])
    return {state: found[state] for state in CALLED if found[state]}


def who(raters: Sequence[Record], most: int = 6) -> str:
    """Those in another state than ok, with it and since when, if they voted; of many the first.

    >>> who([{"rater": "3f2a91c0", "state": "watch", "since": 2}])
    '3f2a91c0 watch since round 2'
    """
    found = [one for one in raters if one["state"] != "ok"]
    named = [
        f"{one['rater']} {one['state']}{f' since round {n}' if (n := one['since']) else ''}"
        for one in found[:most]
    ]
    more = [f"{len(found) - most} more"] if len(found) > most else []
    return ", ".join([*named, *more])


def training(one: Record, weighting: str) -> str:
    """What a rater's state does to training, in a sentence or two."""
    word = one.get("word")
    if weighting != "reliability" and not word:
        return f"Nothing: by the setting raters.weighting ({weighting}) no state changes a weight."
    effect = {
        "ok": "Votes count in full, as far as their accuracy goes.",
        "watch": "Votes of this round count half; so do demonstrations and corrections.",
        "suspended": "Votes, demonstrations and corrections of this round do not count; "
        "nothing is deleted.",
        "minority": "Votes count as the average rater's: a view is not held against anyone.",
    }[one["state"]]
    if word and one["state"] == "ok":
        effect = "Votes count in full, and no less than the average rater's."
    elif word:
        effect = effect.replace("of this round", "of all rounds")
    if one.get("kept", 1.0) < 1:
        effect += (
            " They gave so many of the round's votes that the limit on one rater's share "
            f"(raters.max_rater_share) leaves {share(one['kept'])} of their weight."
        )
    now, every = one["share"]["round"], one["share"]["all"]
    if not now["votes"]:
        return effect
    return (
        f"{effect} In round {one['last']}: {share(now['votes'])} of the votes, "
        f"{share(now['weight'])} of the weight; in all rounds {share(every['votes'])} and "
        f"{share(every['weight'])}."
    )


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "vote"), counted(1200, "vote")
    ('1 vote', '1,200 votes')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def share(value: float) -> str:
    """A share as people write it.

    >>> share(0.204), share(0.0123), share(0.0)
    ('20\\xa0%', '1.2\\xa0%', '0\\xa0%')
    """
    digits = 0 if not value or value >= 0.1 else 1
    return f"{100 * value:.{digits}f}\u00a0%"


def sentence(words: str) -> str:
    """A piece of evidence, or a message, as a sentence."""
    return f"{words[:1].upper()}{words[1:]}."


def _agree(story: Record) -> list[str]:
    parts = {int(one["name"]): one for one in story["agreement"]["round"]}
    known = [(n, ends) for n in sorted(parts) if (ends := parts[n]["agreement"]["widest"])]
    if not known or known[-1][0] != story["newest"]:
        return []
    value, low, high = known[-1][1]
    text = f"Two raters of one pair gave the same answer in {value:.0%} ({low:.0%} to {high:.0%})"
    if len(known) > 1:
        before, (was, was_low, was_high) = known[-2]
        text += f"; in round {before} it was {was:.0%} ({was_low:.0%} to {was_high:.0%})"
    return [f"{text}."]


def _states(story: Record) -> str:
    found = counts(story)
    if not found:
        return "Nobody is watched or suspended."
    newly = sum(one["state"] != "ok" and one["since"] == story["newest"] for one in story["raters"])
    named = [f"{count} {CALLED[state]}" for state, count in found.items()]
    verb = "are" if newly > 1 else "is"
    return (
        f"Raters: {', '.join(named)}; {newly or 'none'} of these states {verb} new in this round."
    )


def _moved(story: Record) -> list[str]:
    """The region that weighting takes most from, where that is seen at all."""
    every = [one for one in story["regions"] if one["round"] is None and one["votes"]]
    if len(every) < 2 or story["weighting"] != "reliability":
        return []
    least = min(every, key=lambda one: one["weight"] / one["votes"])
    if least["weight"] > (1 - SLIGHT) * least["votes"]:
        return [f"No region loses more than {share(SLIGHT)} of its share of training by weighting."]
    name = f"region {least['region']}" if least["region"] else "raters without a region"
    now = next(
        (f" (in round {one['round']} {share(one['votes'])} and {share(one['weight'])})"
         for one in story["regions"]
         if (one["round"], one["region"]) == (story["newest"], least["region"])), ""
    )  # fmt: skip
    return [
        f"Most is lost by weighting for {name}: {share(least['votes'])} of all votes, "
        f"{share(least['weight'])} of the weight{now}. Over all rounds no region may lose more "
        f"than {share(story['max_region_loss'])} of its share by these weights; the cap on one "
        "rater's share comes last, and may take more."
    ]
