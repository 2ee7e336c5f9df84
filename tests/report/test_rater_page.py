"""Raters shown to people: the page is well formed and whole in itself, the table in order."""

from html.parser import HTMLParser
from typing import Any

import pytest

from roundhouse import rater_plots, report
from roundhouse.report.rater_words import chance, happened, training, who
from tests.report.story import (
    LONG,
    NAMES,
    RIGHT,
    SCRIPT,
    by_word,
    evidence,
    figure,
    nobody,
    rater,
    story,
)

Record = dict[str, Any]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Text, tags and attributes; fails where a tag is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += f" {data}"

    def says(self, *parts: str) -> bool:
        text = " ".join(self.text.split())
        return all(" ".join(part.split()) in text for part in parts)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    pictures = rater_plots.draw(story(), tmp_path_factory.mktemp("plots"))
    return Page(report.rater_page(2, story(), pictures))


def test_names_are_text_and_nothing_comes_from_outside(page: Page) -> None:
    assert page.says(SCRIPT, LONG, RIGHT, "<b>17</b>")
    assert "script" not in page.tags and "link" not in page.tags
    assert page.tags.count("bdi") > 0
    assert len(page.links) == 5
    assert all(link.startswith("data:image/png;base64,iVBOR") for link in page.links)


def test_everyone_who_needs_it_is_told_of_with_what_follows(page: Page) -> None:
    assert page.tags.count("section") == 5
    assert page.says("00000000", ": suspended", "Votes look fixed.", "one in twenty is wrong")
    assert page.says(
        "round 2; was ok before", "one honest rater in 21,000 a round",
        "Accuracy 0.71 (0.61 to 0.76)", "count half",
        "In round 2: 25 % of the votes, 12 % of the weight",
        'roundhouse raters set 00000001 ok --why "..."',
        'roundhouse raters set 00000001 suspended --why "..."',
        "the change likely began in round 2, and was clear 1 vote later",
    )  # fmt: skip
    assert page.says(
        "ok again in round 2; earlier: watch in round 1", "Before: Votes changed: as if "
    )
    assert page.says("about two honest raters in a hundred are watched")
    assert page.says(
        "Suspended is who changed in two rounds running. One round alone may do where votes look "
        "fixed"
    )
    assert page.tags.count("tr") == 7


def test_a_standing_word_of_a_person_is_shown_as_such() -> None:
    told = story(raters=[by_word(5)])
    page = Page(report.rater_page(2, told))
    assert page.says(
        "00000005", ": ok", "set by a person on 2026-01-31; why: roundhouse audit rater 00000005",
        "The state is a person's word and no finding of the tests. These say suspended.",
        "Votes look fixed.", "(was suspended)", "until somebody gives another",
        "roundhouse raters set 00000005 STATE", "or auto: the tests decide again",
        "no less than the average rater's",
    )  # fmt: skip
    assert not page.says("one in twenty") and not page.says("ok again")
    same = by_word(5, "suspended", last=1, word={"was": "suspended", "date": None})
    page = Page(report.rater_page(2, story(raters=[same], weighting="none")))
    assert page.says("set by a person; why", "These say the same.", "last voted in round 1")
    assert page.says("corrections of all rounds do not count"), "a word counts whatever the setting"


@pytest.mark.parametrize(
    ("what", "begin", "said"),
    [
        (
            "change",
            "votes changed",
            "By chance this happens to about one honest rater in 21,000 a round.",
        ),
        ("first place", "votes look fixed", "about one in twenty is wrong"),
        ("haste", "an odd way of working", "about one in twenty is wrong"),
        ("group", "votes look colluding", "such a group is found in about one round in 200."),
    ],
)
def test_how_sure_a_finding_is_follows_its_own_test(what: str, begin: str, said: str) -> None:
    words = evidence()[what]
    assert words[0].startswith(begin)
    assert any("(p " in line for line in words)
    assert said in chance(words)
    assert chance(["no vote overlaps with another rater's"]) == ""


def test_of_several_findings_the_surest_is_told() -> None:
    own = "3 of 40 check items right (p 1e-04)"
    for others in (["an odd way of working", "..."], ["votes look colluding", "as one (p 0.002)"]):
        assert "about one honest rater in 10,000 a round" in chance([*others, own])


def test_a_cap_on_ones_weight_is_told() -> None:
    one = story()["raters"][0]
    assert "leaves 19\xa0% of their weight" in training(one | {"kept": 0.19}, "reliability")
    assert "max_rater_share" not in training(one | {"kept": 1.0}, "reliability")


def test_what_else_there_is_to_know_is_told_and_what_warns_is_marked(page: Page) -> None:
    assert page.says("What else there is to know", f"Region {SCRIPT} is missing.", "No row is")
    text = report.rater_page(2, story())
    assert "<li><b>Region " in text and "<li>No row is a check item.</li>" in text
    alike = story()["pool"] | {"notes": ["Alike."], "warnings": ["Alike."]}
    text = report.rater_page(2, story(pool=alike))
    assert "<li><b>Alike.</b></li><li>Alike.</li>" in text, "which is which is no matter of words"


def test_what_happened_is_said_in_sentences() -> None:
    pool, *rest = happened(2, story())
    assert pool.startswith("Agreement beyond chance (alpha) changed by -0.02 (-0.06 to +0.03)")
    text = " ".join(" ".join(rest).split())
    assert "6 raters gave 240 votes" in text
    assert "60% (50% to 65%); in round 1 it was 70% (60% to 75%)" in text
    assert "1 suspended, 1 watched, 1 with a view of their own; 3 of these states are" in text
    assert "lower the weight of 33 % of these votes" in text
    assert "25 % of all votes, 20 % of the weight (in round 2 25 % and 20 %)" in text
    assert "no region may lose more than 20 %" in text
    assert "the cap on one rater's share comes last" in text


def test_of_the_pool_only_what_was_looked_at_is_said() -> None:
    """Agreement is that of comparisons: teams may rate, and compare in some rounds alone."""

    def said(every: Record, *rounds: Record, change: list[float] | None = None) -> str:
        told = story(rounds=[1, 2, 3, 4], newest=4)
        parts = told["agreement"] | {"all": [every], "round": list(rounds)}
        pool = told["pool"] | {"change": change}
        return happened(4, told | {"agreement": parts, "pool": pool})[0]

    nothing = figure("all", None)
    assert said(nothing | {"votes": 0}).startswith("There is no comparison of two answers so far")
    apart = said(nothing, figure("2", None))
    assert "No two raters compared the same pair" in apart and "right" not in apart
    assert "compared in one round so far" in said(figure("all"), figure("2"))
    two = (figure("all"), figure("2"), figure("3"))
    assert "in round 2 or 3 to say" in said(*two)
    assert "from round 2 to round 3" in said(*two, change=[-0.1, -0.2, 0.1])


@pytest.mark.parametrize(("state", "more"), [("warn", ""), ("block", " Training waits")])
def test_an_alarm_of_the_pool_stands_first(state: str, more: str) -> None:
    pool = story()["pool"] | {"state": state, "message": "agree <less>", "change": None}
    told = story(pool=pool)
    assert happened(2, told)[0].startswith(f"Agree <less>.{more}")
    text = report.rater_page(2, told)
    assert '<p class="alarm">Agree &lt;less&gt;.' in text


def test_an_alarm_of_the_pool_says_who_may_explain_it() -> None:
    """Whom the tests found in this round; a person's word hides none, and is no finding."""
    why = "below changed or look"
    fell = story()["pool"] | {
        "state": "warn",
        "message": "agree less",
        "change": [-0.1, -0.2, -0.1],
    }
    said = report.rater_page(2, story(pool=fell))
    assert "Agree less. 3 raters below changed or look odd in this round; that alone may" in said
    assert "may explain the fall.</p>" in said
    moved = fell | {"change": None}
    ok = by_word(2, "suspended", word={"was": "ok", "date": None})
    one = [rater(1, "watch"), rater(3, "watch", last=1), rater(4), ok]
    said = report.rater_page(2, story(pool=moved, raters=one))
    assert (
        "1 rater below changed or looks odd in this round; that alone may explain the change."
        in said
    )
    assert why not in report.rater_page(2, story(pool=fell, raters=one[1:]))
    assert why not in report.rater_page(2, story()), "no alarm"


def test_nobody_one_round_and_no_overlap_make_a_page_too() -> None:
    assert Page(report.rater_page(3, nobody())).says(
        "Nobody rated anything so far", "There are none"
    )
    alone = [rater(7, was=None, accuracy=None)]
    parts = nobody()["agreement"] | {"round": [figure("1", None)]}
    single = nobody() | {"rounds": [2], "newest": 2, "raters": alone, "agreement": parts}
    page = Page(report.rater_page(2, single))
    assert page.says("There is no comparison of two answers", "1 rater gave 40 votes", "not known")
    assert page.says("Nobody: every rater is ok")
    first = story(rounds=[2])
    assert "the last one with votes" in " ".join(happened(5, first))


def test_the_table_of_all_says_why_it_is_in_this_order() -> None:
    here = [rater(n) for n in range(4)]
    away = [rater(n, last=1) for n in range(4, 7)] + [rater(7, "watch", last=1)]
    alone = Page(report.rater_page(2, story(raters=here)))
    assert alone.says("then the least accurate.") and not alone.says("did not vote")
    some = Page(report.rater_page(2, story(raters=here + away)))
    assert some.says("3 raters who did not vote in round 2 and need no look stand at the end")
    one = Page(report.rater_page(2, story(raters=here + away[:1])))
    assert one.says("1 rater who did not vote in round 2")


@pytest.mark.parametrize(
    ("new", "said"), [(0, "none of these states is"), (1, "1 of these states is"), (2, "2 of th")]
)
def test_states_are_new_and_not_people(new: int, said: str) -> None:
    raters = [rater(n, "watch", since=2 if n < new else 1) for n in range(3)]
    text = " ".join(happened(2, story(raters=raters)))
    assert f"Raters: 3 watched; {said}" in text


def test_one_vote_is_no_votes() -> None:
    one = rater(7, was=None)
    one["rounds"][-1]["votes"] = 1
    assert "1 rater gave 1 vote." in happened(2, story(raters=[one]))[1]


def test_a_rater_without_votes_is_in_a_state_since_no_round() -> None:
    one = rater(5, "suspended", was=None, since=None, last=0, votes=0, accuracy=None)
    shares = {part: {"votes": 0.0, "weight": 0.0} for part in ("round", "all")}
    told = story(raters=[one | {"share": shares, "rounds": [], "changed": False}])
    page = Page(report.rater_page(2, told))
    assert page.says("they have not voted so far", "do not count")
    assert not page.says("round 0") and not page.says("None") and not page.says("ok again")
    assert who(told["raters"]) == "00000005 suspended"
    line = {
        "rater": "new", "region": "", "votes": 0, "accuracy": None, "accuracy_low": None,
        "accuracy_high": None, "weight": 0.0, "state": "suspended", "since": None, "evidence": [],
    }  # fmt: skip
    assert "None" not in report.raters_table(2, [line])


def test_thousands_of_raters_stay_readable() -> None:
    raters = [rater(n, "watch") for n in range(90)] + [rater(n) for n in range(90, 3000)]
    text = report.rater_page(2, story(raters=raters))
    assert len(text) < 1_000_000
    assert Page(text).says("And 50 more", "And 2,500 more")


def test_where_states_change_no_weight_the_page_says_so() -> None:
    told = Page(report.rater_page(2, story(weighting="none")))
    assert told.says("Nothing: by the setting raters.weighting (none)")
    assert not told.says("count half") and not told.says("lower the weight")


def test_the_table_tells_who_needs_attention_first_and_reads_older_rounds() -> None:
    line: dict[str, Any] = {
        "rater": "a[b]", "region": None, "votes": 1200, "overlap": 40, "accuracy": 0.81,
        "accuracy_low": 0.78, "accuracy_high": 0.83, "weight": 0.62, "state": "ok", "evidence": [],
    }  # fmt: skip
    newer = line | {"key": "12345678", "since": None}
    back = {"rounds": [{"round": 1, "state": "watch"}, {"round": 2, "state": "ok"}]}
    lines = [
        line,
        newer | {"rater": "back", **back},
        newer | {"rater": "low", "accuracy": 0.55},
        newer | {"rater": "seen", "state": "watch", "since": 2, "evidence": ["changed; p"]},
        newer | {"rater": "gone", "state": "suspended", "since": 1, "accuracy": None}
        | {"accuracy_low": None, "accuracy_high": None, "evidence": ["votes look fixed"]},
        newer | {"rater": SCRIPT, "region": LONG, "state": "minority", "since": 2},
    ]  # fmt: skip
    text = report.raters_table(2, lines)
    head, _, found = text.partition("what was found")
    places = [head.index(name) for name in ("gone", "seen", "<script>", "back", "low", "a[b]")]
    assert places == sorted(places)
    assert "0.81 [0.78, 0.83]" in head and "1,200" in head
    assert "seen" in found and "changed; p" in found and "votes look fixed" in found
    assert report.raters_table(2, []).startswith("Raters of round 2")


def test_what_many_raters_share_is_said_once() -> None:
    words = ["no vote overlaps with another rater's: the pool's accuracy is used"]
    line = {
        "region": "", "votes": 3, "accuracy": None, "accuracy_low": None, "accuracy_high": None,
        "weight": 0.5, "state": "ok", "evidence": words,
    }  # fmt: skip
    text = report.raters_table(1, [line | {"rater": f"r{n}"} for n in range(700)])
    assert text.count("no vote overlaps") == 1
    assert "700 raters" in text


def test_every_region_has_a_name_in_the_fixture() -> None:
    assert len({one["region"] for one in story()["regions"]}) == len(NAMES)
