"""The pictures of a round's raters, from `raters/story.py`'s plain data alone.

A picture cannot be rewritten when someone is erased, so raters stand under keys.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roundhouse import plots
from roundhouse.plots import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

Story = Mapping[str, Any]

COLOURS = {"ok": "C0", "watch": "C1", "suspended": "C3", "minority": "C4"}
#: Raters in the picture, sums in theirs, heat maps beside the pool's, regions by name.
MOST_RATERS, MOST_SUMS, MOST_MAPS, MOST_REGIONS = 48, 8, 3, 8
#: Votes of a row of a heat map below which no share is given.
LEAST = 10
#: Signs of a name from feedback.
LENGTH = 18
TITLES = {
    "raters_agreement": "Agreement over the rounds",
    "raters_accuracy": "Rater by rater",
    "raters_confusion": "What raters say where most others agree",
    "raters_cusum": "When did it begin",
    "raters_regions": "What each region gives, and what it weighs",
}


def draw(story: Story, folder: Path) -> list[Path]:
    """Writes every picture that the story allows as PNG into `folder`; returns their paths."""
    drawn = {
        "raters_agreement": agreement(story),
        "raters_accuracy": accuracy(story),
        "raters_confusion": confusion(story),
        "raters_cusum": sums(story),
        "raters_regions": regions(story),
    }
    with warnings.catch_warnings():
        # A name in a script that the font lacks shows boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        return plots.write(drawn, folder)


def agreement(story: Story) -> "Figure | None":
    """Percent agreement, alpha and AC1 of each round with their intervals."""
    parts = story["agreement"]["round"]
    names = {"agreement": "share of equal vote pairs", "alpha": "alpha", "ac1": "AC1"}
    if not any(one[what]["widest"] for one in parts for what in names):
        return None
    figure, axes = page(len(names), width=3.9)
    for panel, (what, label) in zip(axes, names.items(), strict=True):
        known = [(int(one["name"]), ends) for one in parts if (ends := one[what]["widest"])]
        if known:
            across = [number for number, _ in known]
            error = [[e[0] - e[1] for _, e in known], [e[2] - e[0] for _, e in known]]
            panel.errorbar(
                across, [ends[0] for _, ends in known], yerr=error, fmt="o-", markersize=4,
                linewidth=1.2, capsize=3,
            )  # fmt: skip
        panel.set(xlabel="round", ylabel=f"{label}, {story['confidence']:.0%}")
        _whole(panel, [int(one["name"]) for one in parts])
    return figure


def accuracy(story: Story) -> "Figure | None":
    """Accuracy of each rater in the last round in which they voted; of many, some."""
    known = [one for one in story["raters"] if one["accuracy"]]
    if not known:
        return None
    chosen = [one for one in known if one["attention"]][:MOST_RATERS]
    others = sorted((one for one in known if not one["attention"]), key=lambda one: -one["votes"])
    chosen += others[: MOST_RATERS - len(chosen)]
    chosen.sort(key=lambda one: (one["accuracy"][0], one["rater"]))
    figure, (panel,) = page(1, height=max(3.6, 0.7 + 0.17 * len(chosen)), width=6.2)
    for state, colour in COLOURS.items():
        rows = [(k, one["accuracy"]) for k, one in enumerate(chosen) if one["state"] == state]
        if rows:
            values = [ends[0] for _, ends in rows]
            error = [[e[0] - e[1] for _, e in rows], [e[2] - e[0] for _, e in rows]]
            panel.errorbar(
                values, [k for k, _ in rows], xerr=error, fmt="o", color=colour, label=state,
                markersize=4, elinewidth=1.2,
            )  # fmt: skip
    panel.axvline(0.5, color="0.5", linestyle="--", linewidth=1)
    panel.set_yticks(range(len(chosen)), [one["rater"] for one in chosen], fontsize=7)
    panel.set_ylim(-0.8, len(chosen) - 0.2)
    left = f", {len(chosen)} of {len(known)} raters" if len(chosen) < len(known) else ""
    panel.set(xlabel=f"share of better answers named{left}; dashed: chance", ylabel="rater")
    figure.legend(fontsize=8, frameon=False, loc="outside upper center", ncols=len(COLOURS))
    return figure


def confusion(story: Story) -> "Figure | None":
    """Shares of what was voted by what most others said, in numbers and colours: pool, flagged."""
    found = story["confusion"]
    order = [one["rater"] for one in story["raters"]]
    flagged = [(key, table) for key, table in found["raters"].items() if _total(table)]
    flagged.sort(key=lambda pair: order.index(pair[0]))
    if not _total(found["pool"]):
        return None
    since = {one["rater"]: one["since"] or one["last"] for one in story["raters"]}
    tables = [("all raters, all rounds", found["pool"])]
    tables += [(f"{key} since round {since[key]}", table) for key, table in flagged[:MOST_MAPS]]
    figure, axes = page(len(tables), width=3.5)
    for panel, (name, table) in zip(axes, tables, strict=True):
        # A share of a few votes would be the darkest of all.
        shares = [[cell / max(LEAST, sum(row)) for cell in row] for row in table]
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row, cells in enumerate(shares):
            for column, share in enumerate(cells):
                count = table[row][column]
                text = f"{share:.0%}\n{count:,}" if sum(table[row]) >= LEAST else f"{count:,}"
                dark = "white" if share > 0.65 else "black"
                panel.text(column, row, text, ha="center", va="center", color=dark, fontsize=8)
        panel.grid(False)
        panel.set_xticks(range(len(cells)), found["labels"], fontsize=8)
        panel.set_yticks(range(len(cells)), found["labels"], fontsize=8)
        panel.set_title(name, fontsize=9)
        panel.set(xlabel="voted", ylabel="most others say")
    return figure


def sums(story: Story) -> "Figure | None":
    """The sum of each flagged rater over their votes; above the line is an alarm."""
    found = sorted(story["cusum"]["raters"].items(), key=lambda pair: -max(pair[1]["path"]))
    found = found[:MOST_SUMS]
    if not found:
        return None
    figure, (panel,) = page(1, width=8.4)
    for place, (key, one) in enumerate(found):
        style = "-" if place < len(found) / 2 or len(found) < 5 else "--"
        panel.plot(one["vote"], one["path"], style, linewidth=1.3, label=key, color=f"C{place}")
        begin, crossed = one["change"], one["alarm"]
        for end, mark, size in ((begin, "|", 14), (crossed, "o", 5)):
            if end and end["vote"] > 0:
                height = one["path"][_at(one["vote"], end["vote"])]
                panel.plot([end["vote"]], [height], mark, color=f"C{place}", markersize=size)
    panel.axhline(story["cusum"]["threshold"], color="0.4", linestyle="--", linewidth=1)
    panel.set(xlabel="vote of the rater", ylabel="evidence of turned votes")
    panel.set_title("dashed: alarm; dot: first above it; bar: likely begin", fontsize=9)
    panel.legend(fontsize=8, frameon=False)
    return figure


def regions(story: Story) -> "Figure | None":
    """Each region's share of votes and of weight: by round, and over all rounds together."""
    every = [one for one in story["regions"] if one["round"] is None]
    if not every:
        return None
    every.sort(key=lambda one: -one["votes"])
    named = [one["region"] for one in every[:MOST_REGIONS]]
    rounds = sorted({one["round"] for one in story["regions"]} - {None})
    figure, (left, right) = page(2)
    for place, region in enumerate(named):
        lines = {one["round"]: one for one in story["regions"] if one["region"] == region}
        for what, style in (("votes", "-"), ("weight", "--")):
            values = [lines[n][what] if n in lines else 0.0 for n in rounds]
            left.plot(rounds, values, color=f"C{place}", linestyle=style, marker=".", linewidth=1.2)
    for what, style in (("votes", "-"), ("weight", "--")):
        left.plot([], [], color="0.3", linestyle=style, label=what)
    title = "left, in the colours of the right"
    figure.legend(
        fontsize=8, frameon=False, loc="outside upper left", ncols=2, title=title, title_fontsize=8
    )
    left.set(xlabel="round", ylabel="share of the round")
    left.yaxis.set_major_formatter(_percent())
    right.xaxis.set_major_formatter(_percent())
    _whole(left, rounds)
    for what, shift, shade in (("votes", -0.2, 0.45), ("weight", 0.2, 1.0)):
        values = [one[what] for one in every[:MOST_REGIONS]]
        places = [k + shift for k in range(len(values))]
        colours = [f"C{k}" for k in range(len(values))]
        right.barh(places, values, height=0.38, color=colours, alpha=shade)
    right.set_yticks(range(len(named)), [plain(name) for name in named], fontsize=8)
    right.invert_yaxis()
    right.set(xlabel="share in all rounds (light: votes, dark: weight)")
    return figure


def plain(name: str) -> str:
    """A name from feedback as a label: short, on one line, and no formula.

    >>> plain("$x$ " + 20 * "a")
    '\\\\$x\\\\$ aaaaaaaaaaaaa…'
    """
    line = "".join(sign if sign.isprintable() else " " for sign in name) or "none stated"
    short = line if len(line) <= LENGTH else f"{line[: LENGTH - 1]}…"
    return short.replace("$", r"\$")


def _whole(panel: "Axes", rounds: Sequence[int]) -> None:
    """Rounds have no halves; of many some are named."""
    step = -(-len(rounds) // 10) or 1
    panel.set_xticks(rounds[::-1][::step][::-1])
    if rounds:
        panel.set_xlim(min(rounds) - 0.5, max(rounds) + 0.5)


def _percent() -> "PercentFormatter":
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415 - as in `plots`

    return PercentFormatter(1.0, decimals=0)


def _total(table: Sequence[Sequence[int]]) -> int:
    return sum(map(sum, table))


def _at(votes: Sequence[int], vote: int) -> int:
    """The place of the point that is nearest to a vote."""
    return min(range(len(votes)), key=lambda k: abs(votes[k] - vote))
