"""The page for a lead of raters: what happened, to whom, since when, how sure, and what follows.

One HTML file without scripts or anything from outside, made from a story (`raters/story.py`) and
its pictures. Names of regions come from feedback: everything is escaped.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from roundhouse import rater_plots
from roundhouse.report.rater_words import (
    chance,
    counted,
    happened,
    perhaps_why,
    sentence,
    share,
    training,
)

Record = Mapping[str, Any]

#: People told of one by one, and rows of the table; the rest is counted.
MOST_PEOPLE, MOST_ROWS = 40, 500
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; margin: 0 auto;
  max-width: 62rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: .2rem 0 .8rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; }
section.person { border: 1px solid #c8c8c8; border-left-width: 6px; border-radius: 4px;
  padding: .6rem .9rem; margin: .8rem 0; }
section.suspended { border-left-color: #b3261e; } section.watch { border-left-color: #b35c00; }
section.minority { border-left-color: #6a3fa0; } section.ok { border-left-color: #1f5fa8; }
section.person h3 { margin: 0 0 .3rem; font-size: 1rem; }
b.ok { font-weight: normal; } b.suspended { color: #9c1c15; } b.watch { color: #8a4700; }
b.minority { color: #57308a; }
dl { display: grid; grid-template-columns: 8.5rem 1fr; gap: .25rem .8rem; margin: 0; }
dt { color: #4a4a4a; } dd { margin: 0; } dd p { margin: 0 0 .2rem; }
code { font: .88em/1.4 ui-monospace, monospace; background: #f0f0f0; padding: .1rem .3rem;
  border-radius: 3px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #ddd;
  vertical-align: top; white-space: nowrap; }
td.region { max-width: 12rem; white-space: normal; }
th { color: #4a4a4a; font-weight: 600; } td.number, th.number { text-align: right; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: #4a4a4a; }
.alarm { border: 2px solid #b3261e; padding: .5rem .8rem; border-radius: 4px; }
@media (max-width: 34rem) {
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
}
"""
_HOW_TO_READ = (
    "Raters stand here under keys of eight signs. <code>roundhouse raters</code> shows which rater "
    "a key is, and takes either.",
    "<b>By chance</b>: about two honest raters in a hundred are watched in a round though nothing "
    "changed. Someone who is watched once may have had bad luck: look at what was found, and talk "
    "before you judge.",
    "<b>Suspended</b> is who changed in two rounds running. One round alone may do where votes "
    "look fixed (by a habit), random, or colluding (after a group's key), or where check items are "
    "about as often wrong as by tossing a coin.",
    "<b>Turned votes</b>: it looks as if they had named the worse answer in that share of "
    "their votes. Votes with peers are those on pairs that others rated too; check items are pairs "
    "whose better answer is known.",
    "<b>Accuracy</b> is how often someone names the better answer when they name one, as far as "
    "the others make it known. The figures after it are an interval, which holds the true accuracy "
    "in {sure} of cases. With few votes it is wide.",
    "<b>Weight</b> is what one vote counts in training, between 0 and about 1: twice the accuracy "
    "less one, halved for those who are watched, 0 for those who are suspended, less for whoever "
    "would stand for more than a set share of the round. It holds for the "
    "votes of one round: votes from before a change keep their weight.",
    "<b>Minority</b> means that someone differs from most but agrees with their own region or "
    "group, which is a view and not a fault.",
    "<b>Agreement</b> of 63 to 77 % is usual for preferences. Alpha is agreement beyond chance: 0 "
    "is chance, 1 is full agreement.",
    "What nobody can see here: errors that all raters share, and changes of those with few votes "
    "on pairs that others rated too.",
)


def rater_page(number: int, story: Record, pictures: Iterable[Path] = ()) -> str:
    """The page of a round; pictures: those that `rater_plots.draw` wrote."""
    body = [
        f"<h1>Raters of round {number}</h1>",
        *_happened(number, story),
        *_notes(story),
        *_people(story),
        *_everyone(story),
        *_pictures(pictures),
        *_how_to_read(story),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Raters of round {number}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _happened(number: int, story: Record) -> Iterable[str]:
    pool, *rest = happened(number, story)
    if story["pool"]["state"] == "ok":
        yield f"<p>{escape(pool)}</p>"
    else:
        yield f'<p class="alarm">{escape(" ".join([pool, *perhaps_why(story)]))}</p>'
    yield f"<p>{escape(' '.join(rest))}</p>"


def _notes(story: Record) -> Iterable[str]:
    """What the pool's verdict says beside; what a person should look at stands first, marked."""
    pool = story["pool"]
    said = [f"<b>{escape(warning)}</b>" for warning in pool["warnings"]]
    said += map(escape, pool["notes"])
    if said:
        lines = "".join(f"<li>{text}</li>" for text in said)
        yield f"<h2>What else there is to know</h2><ul>{lines}</ul>"


def _people(story: Record) -> Iterable[str]:
    found = [one for one in story["raters"] if one["attention"]]
    yield "<h2>People to look at</h2>"
    if not found:
        yield (
            "<p>Nobody: every rater is ok, and was before, and no state was set by a person.</p>"
        )
    for one in found[:MOST_PEOPLE]:
        yield from _person(one, story)
    if len(found) > MOST_PEOPLE:
        yield f"<p>And {len(found) - MOST_PEOPLE} more: <code>roundhouse raters</code>.</p>"


def _person(one: Record, story: Record) -> Iterable[str]:
    state, key = one["state"], one["rater"]
    where = f", region {_name(one['region'])}" if one["region"] else ""
    yield f'<section class="person {state}">'
    yield f'<h3><code>{escape(key)}</code>{where}: <b class="{state}">{state}</b></h3><dl>'
    yield from _fact("since", [*_word(one), escape(_since(one, story))])
    found = [sentence(words) for words in one["evidence"]] or ["Nothing any more."]
    found += [f"Before: {sentence(words)}" for words in one["evidence_before"]]
    yield from _fact("what was found", map(escape, [*found, _began(key, story)]))
    yield from _fact("how sure", [escape(_sure(one)), escape(_accuracy_of(one))])
    yield from _fact("in training", [escape(training(one, story["weighting"]))])
    yield from _fact("what you can do", _remedies(one))
    yield "</dl></section>"


def _fact(name: str, lines: Iterable[str]) -> Iterable[str]:
    told = "".join(f"<p>{line}</p>" for line in lines if line)
    if told:
        yield f"<dt>{name}</dt><dd>{told}</dd>"


def _word(one: Record) -> list[str]:
    """That the state is a person's word; older stories do not say."""
    word = one.get("word")
    if not word:
        return []
    when = f" on {word['date']}" if word["date"] else ""
    return [
        f"set by a person{when}; why: <code>roundhouse audit rater {escape(one['rater'])}</code>"
    ]


def _sure(one: Record) -> str:
    word = one.get("word")
    if not word:
        return chance(one["evidence"])
    tests = "say the same" if word["was"] == one["state"] else f"say {word['was']}"
    return f"The state is a person's word and no finding of the tests. These {tests}."


def _since(one: Record, story: Record) -> str:
    if not one["votes"]:
        return "they have not voted so far"
    if one.get("word"):
        return "" if one["last"] == story["newest"] else f"last voted in round {one['last']}"
    was = f"was {one['was']} before" if one["changed"] and one["state"] != "ok" else ""
    absent = f"last voted in round {one['last']}" if one["last"] != story["newest"] else ""
    begin = (
        f"round {one['since']}" if one["since"] is not None else f"ok again in round {one['last']}"
    )
    earlier = [
        f"{e['state']} in round {e['round']}" for e in one["rounds"]
        if e["state"] != "ok" and e["round"] < (one["since"] or one["last"])
    ]  # fmt: skip
    parts = (begin, was, f"earlier: {', '.join(earlier)}" if earlier else "", absent)
    return "; ".join(part for part in parts if part)


def _began(key: str, story: Record) -> str:
    """When the running sum says that it began."""
    one = story["cusum"]["raters"].get(key)
    if not one or not one["change"]:
        return ""
    begin = one["change"]
    day = f", about {begin['date']}" if begin["date"] else ""
    return (
        f"Followed vote by vote, the change likely began in round {begin['round']}{day}, and was "
        f"clear {counted(one['alarm']['vote'] - begin['vote'], 'vote')} later."
    )


def _accuracy_of(one: Record) -> str:
    if not one["accuracy"]:
        return "Their accuracy is not known: no other rater decided on the pairs that they rated."
    value, low, high = one["accuracy"]
    rounds = [e for e in one["rounds"][:-1] if e["accuracy"]]
    before = f"; in round {rounds[-1]['round']} {rounds[-1]['accuracy'][0]:.2f}" if rounds else ""
    return f"Accuracy {value:.2f} ({low:.2f} to {high:.2f}){before}; chance is 0.5."


def _remedies(one: Record) -> list[str]:
    key = escape(one["rater"])
    command = '<code>roundhouse raters set {} {} --why "..."</code>'
    end = command.format(key, "suspended")
    trust = f"If you know that their work is good: {command.format(key, 'ok')}"
    stop = f"If it is not: {end}"
    if one.get("word"):
        other = command.format(key, "STATE")
        return [
            f"The word holds for the votes of all rounds, until somebody gives another: {other}, "
            "where STATE is ok, watch, suspended or minority, or auto: the tests decide again."
        ]
    note = "Your word holds from the next round on, for their votes of all rounds, and is kept."
    if one["state"] == "ok":
        return ["Nothing needs to be done; votes of the rounds before keep their lowered weight."]
    if one["state"] == "minority":
        return [
            "Nothing needs to be done; their votes count.",
            f"If you know better: {end}. {note}",
        ]
    first = "Ask whether something changed: the guideline, the tool, the kind of pairs, the hours."
    return (
        [first, f"{trust}.", note]
        if one["state"] == "suspended"
        else [first, f"{trust}. {stop}.", note]
    )


def _everyone(story: Record) -> Iterable[str]:
    raters: Sequence[Record] = story["raters"]
    yield "<h2>All raters</h2>"
    if not raters:
        yield "<p>There are none.</p>"
        return
    yield f"<p>{_order_of(raters, story['newest'])}</p>"
    heads = ("key", "region", "state", "since", "accuracy", "weight", "votes", "of all weight")
    classes = ("", "", "", "", "", *(3 * (' class="number"',)))
    cells = "".join(f"<th{k}>{head}</th>" for head, k in zip(heads, classes, strict=True))
    yield f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>'
    yield from (_row(one) for one in raters[:MOST_ROWS])
    yield "</tbody></table></div>"
    if len(raters) > MOST_ROWS:
        rest = len(raters) - MOST_ROWS
        yield f"<p>And {rest:,} more, in <code>roundhouse raters --json</code>.</p>"


def _order_of(raters: Sequence[Record], newest: int | None) -> str:
    """Why the table stands as it does: that is how the story sorts them."""
    text = "Those to look at come first, then the least accurate."
    away = sum(one["last"] != newest and not one["attention"] for one in raters)
    if not away or newest is None:
        return text
    did = "1 rater who" if away == 1 else f"{away:,} raters who"
    return (
        f"{text} {did} did not vote in round {newest} and need no look stand at the end: that "
        "round says nothing new of them, and what is shown is of the last round they voted in."
    )


def _row(one: Record) -> str:
    known = one["accuracy"]
    accuracy = f"{known[0]:.2f} ({known[1]:.2f} to {known[2]:.2f})" if known else "not known"
    since = f"round {one['since']}" if one["since"] else ""
    return (
        f"<tr><td><code>{escape(one['rater'])}</code></td>"
        f'<td class="region">{_name(one["region"])}</td>'
        f'<td><b class="{one["state"]}">{one["state"]}</b></td><td>{since}</td><td>{accuracy}</td>'
        f'<td class="number">{one["weight"]:.2f}</td><td class="number">{one["votes"]:,}</td>'
        f'<td class="number">{share(one["share"]["all"]["weight"])}</td></tr>'
    )


def _pictures(paths: Iterable[Path]) -> Iterable[str]:
    for place, path in enumerate(paths):
        if not place:
            yield "<h2>Pictures</h2>"
        title = escape(rater_plots.TITLES[path.stem])
        source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        yield f'<figure><figcaption>{title}</figcaption><img alt="{title}" src="{source}"></figure>'


def _how_to_read(story: Record) -> Iterable[str]:
    yield "<h2>How to read this</h2><ul>"
    sure = escape(f"{story['confidence']:.0%}")
    yield from (f"<li>{line.format(sure=sure)}</li>" for line in _HOW_TO_READ)
    yield "</ul>"


def _name(name: str) -> str:
    """A name from feedback, whatever its script and direction."""
    return f"<bdi>{escape(name)}</bdi>"
