"""Pictures of raters are drawn where the story allows, whatever names are in it."""

from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from roundhouse import rater_plots
from tests.report.story import LONG, nobody, rater, story


def test_every_picture_that_the_story_allows(tmp_path: Path) -> None:
    paths = rater_plots.draw(story(), tmp_path)
    assert [path.stem for path in paths] == list(rater_plots.TITLES)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert rater_plots.draw(nobody(), tmp_path) == []


def test_agreement_is_drawn_with_its_interval() -> None:
    figure = rater_plots.agreement(story())
    assert figure is not None
    line, (bars,) = figure.axes[0].containers[0][0], figure.axes[0].containers[0][2]
    assert line.get_xydata().tolist() == [[1.0, 0.7], [2.0, 0.6]]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx([0.6, 0.75]), pytest.approx([0.5, 0.65])]


def test_of_many_raters_those_who_need_attention_are_drawn() -> None:
    many = [rater(n, "watch" if n >= 390 else "ok", votes=n) for n in range(400)]
    figure = rater_plots.accuracy(story(raters=many))
    assert figure is not None
    shown = {text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert len(shown) == rater_plots.MOST_RATERS
    assert {f"{n:08x}" for n in range(390, 400)} <= shown
    assert f"{389:08x}" in shown and f"{0:08x}" not in shown
    states = [handle.get_label() for handle in figure.axes[0].containers]
    assert states == ["ok", "watch"]


def test_an_alarm_and_its_begin_are_marked() -> None:
    figure = rater_plots.sums(story())
    assert figure is not None
    path, begin, alarm, threshold = figure.axes[0].lines
    assert path.get_xydata().tolist() == [[1, 0], [2, 4], [3, 9]]  # type: ignore[union-attr]
    assert begin.get_xydata().tolist() == [[2, 4]]  # type: ignore[union-attr]
    assert alarm.get_xydata().tolist() == [[3, 9]]  # type: ignore[union-attr]
    assert set(threshold.get_ydata()) == {8.5}  # type: ignore[arg-type]


def test_a_begin_before_the_path_is_not_marked() -> None:
    told = story()
    [one] = told["cusum"]["raters"].values()
    one["change"] = {"vote": -4, "round": 1, "date": None}
    figure = rater_plots.sums(told)
    assert figure is not None
    _, alarm, _ = figure.axes[0].lines
    assert alarm.get_xydata().tolist() == [[3, 9]]  # type: ignore[union-attr]


def test_the_lines_of_regions_are_explained_in_the_colours_of_the_bars() -> None:
    figure = rater_plots.regions(story())
    assert figure is not None
    left, right = figure.axes
    [legend] = figure.legends
    assert legend.get_title().get_text() == "left, in the colours of the right"
    assert [text.get_text() for text in legend.get_texts()] == ["votes", "weight"]
    styles = [(line.get_linestyle(), line.get_label()) for line in left.lines[-2:]]
    assert styles == [("-", "votes"), ("--", "weight")]
    votes = [line.get_color() for line in left.lines[:-2:2]]
    bars = [to_hex(patch.get_facecolor()) for patch in right.containers[0].patches]  # type: ignore[attr-defined]
    assert [to_hex(colour) for colour in votes] == bars
    assert len(right.get_yticklabels()) == len(bars)


@pytest.mark.parametrize("name", ["$\\frac$", "a\nb", LONG, "", "\u65e5\u672c \u05d0\u05d6"])
def test_a_label_is_short_one_line_and_no_formula(name: str, tmp_path: Path) -> None:
    label = rater_plots.plain(name)
    assert label and label.isprintable()
    assert len(label.replace("\\$", "$")) <= rater_plots.LENGTH
    regions = [{"round": n, "region": name, "votes": 1.0, "weight": 1.0} for n in (1, None)]
    paths = rater_plots.draw(nobody() | {"regions": regions}, tmp_path)
    assert [path.stem for path in paths] == ["raters_regions"]
