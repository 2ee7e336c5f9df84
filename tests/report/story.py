"""A round's story with names that nobody should have."""

from functools import cache
from typing import Any

import numpy as np

from roundhouse.raters.verdict import judge_raters
from roundhouse.simulate.votes import Fault, Pool, draw
from tests.raters.conftest import PARAMS

SCRIPT = "<script>alert('$x_1$')</script>"
LONG = "Z" * 200
RIGHT = "\u05d0\u05d6\u05d5\u05e8 & \u0645\u0646\u0637\u0642\u0629"
NAMES = (SCRIPT, LONG, RIGHT, "")


@cache
def evidence() -> dict[str, list[str]]:
    """What the tests of a round say of raters who choose the first place (with and without the
    word of a person who set them to ok), who copy, who turn votes and who hurry."""
    pool = Pool(24, 90, overlap=0.8, gold=12, anchors=0, bank=0)
    copy = Fault([7, 12, 20], "collude")
    faults = [Fault([1], "fixed"), copy, Fault([3], "flip", 0.45, since=2)]
    votes = draw(pool, 2, 2, faults).votes
    hasty = (votes["rater"] == "r005") & (np.arange(len(votes)) % 4 == 0)
    votes = votes.assign(seconds=np.where(hasty, 1.0, votes["seconds"]))
    word = {"r001": {"state": "ok", "why": "a word of 2026-01-31T16:59:52Z: <b>17</b>"}}
    judged = judge_raters(votes, PARAMS.raters, dict.fromkeys(votes["rater"], ""), word)
    found = {one.rater: one.epochs for one in judged}
    places = {"first place": ("r001", 1), "group": ("r007", 1), "change": ("r003", 1)}
    places["haste"] = ("r005", 0)
    said = {what: found[rater][place].evidence for what, (rater, place) in places.items()}
    return said | {"word": said["first place"], "first place": said["first place"][:-1]}


def interval(value: float | None) -> list[float] | None:
    return None if value is None else [value, value - 0.1, value + 0.05]


def rater(number: int, state: str = "ok", was: str | None = "ok", **more: Any) -> dict[str, Any]:
    """A rater of two rounds, with a region that nobody should have."""
    flagged, changed = state != "ok", was not in (None, state)
    rounds = [
        {"round": n, "votes": 40, "accuracy": interval(0.8), "state": s, "weight": 0.5}
        for n, s in ((1, was), (2, state))
        if s
    ]
    words = {"watch": evidence()["change"], "suspended": evidence()["first place"]}
    return {
        "rater": f"{number:08x}", "region": NAMES[number % 4], "state": state,
        "since": 2 if flagged else None, "was": was, "word": None, "attention": flagged or changed,
        "changed": changed, "last": 2, "evidence": words.get(state, []),
        "evidence_before": words.get(was or "", []) if changed else [],
        "accuracy": interval(0.7 + number / 100), "weight": 0.25, "factor": 1.0, "votes": 80,
        "share": {
            "round": {"votes": 0.25, "weight": 0.123}, "all": {"votes": 0.25, "weight": 0.2},
        },
        "rounds": rounds, **more,
    }  # fmt: skip


def by_word(number: int, state: str = "ok", **more: Any) -> dict[str, Any]:
    """A rater whose state a person set, against the tests."""
    word = {"was": "suspended", "date": "2026-01-31"}
    told = {"attention": True, "word": word, "evidence": evidence()["word"]}
    return rater(number, state, state, **told) | more


def figure(name: str, value: float | None = 0.7) -> dict[str, Any]:
    each = {"items": interval(value), "raters": None, "widest": interval(value)}
    parts = {"agreement": each, "alpha": each, "ac1": each}
    return {"name": name, "items": 90, "raters": 4, "votes": 160, **parts}


def story(**more: Any) -> dict[str, Any]:
    """Two rounds, six raters: one of each state, one who is ok again, one by a person's word."""
    raters = [
        rater(0, "suspended"), rater(1, "watch"), rater(2, "minority"), rater(3, "ok", "watch"),
        by_word(5), rater(4),
    ]  # fmt: skip
    table = [[30, 5, 1], [6, 28, 2], [1, 1, 0]]
    end = {"vote": 3, "round": 2, "date": "2026-01-31"}
    path = {"path": [0.0, 4.0, 9.0], "vote": [1, 2, 3], "round": [1, 2, 2], "alarm": end}
    path |= {"change": {"vote": 2, "round": 2, "date": None}}
    return {
        "rounds": [1, 2], "newest": 2, "weighting": "reliability", "confidence": 0.95,
        "max_region_loss": 0.2,
        "pool": {"state": "ok", "check": "agreement-drop", "message": "",
                 "cause": "cannot tell", "figures": {}, "change": [-0.02, -0.06, 0.03],
                 "notes": ["No row is a check item."],
                 "warnings": [f"Region {SCRIPT} is missing."]},
        "agreement": {
            "all": [figure("all")], "round": [figure("1"), figure("2", 0.6)],
            "domain": [], "region": [figure(name) for name in NAMES], "guideline": [],
        },
        "confusion": {"labels": ["first", "second", "tie"], "shown": True, "pool": table,
                      "raters": {one["rater"]: table for one in raters[:2]}},
        "cusum": {"threshold": 8.5, "raters": {raters[1]["rater"]: path}},
        "regions": [
            {"round": number, "region": name, "votes": 0.25, "weight": 0.2 + 0.1 * (name == LONG)}
            for number in (1, 2, None) for name in NAMES
        ],
        "raters": raters, **more,
    }  # fmt: skip


def nobody() -> dict[str, Any]:
    """A round without any vote."""
    empty = [[0] * 3] * 3
    parts: dict[str, Any] = {"round": [], "domain": [], "region": [], "guideline": []}
    return story(
        rounds=[], newest=None, regions=[], raters=[], cusum={"threshold": 8.5, "raters": {}},
        agreement=parts | {"all": [figure("all", None) | {"votes": 0}]},
        confusion={"labels": ["first", "second", "tie"], "shown": False, "pool": empty,
                   "raters": {}},
    )  # fmt: skip
