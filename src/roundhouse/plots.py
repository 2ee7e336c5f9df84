"""The pictures that MLflow shows beside a stage's figures, from numbers alone.

They are drawn without pyplot: no display, no global state, and each figure goes when it is saved.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roundhouse.spool import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Steps of one curve that are drawn; more are averaged in equal groups.
MAX_POINTS = 400


def draw(history: History, calibration: Mapping[str, Any] | None, folder: Path) -> list[Path]:
    """Writes every picture that the numbers allow as PNG into `folder`; returns their paths."""
    drawn = {
        "losses": losses(history),
        "reward_against_kl": reward_against_kl(history),
        "length": lengths(history),
        "calibration": reliability(calibration["bins"]) if calibration else None,
    }
    return write(drawn, folder)


def write(drawn: "Mapping[str, Figure | None]", folder: Path) -> list[Path]:
    """Each figure that there is as `folder/NAME.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in drawn.items():
        if figure is not None:
            paths.append(folder / f"{name}.png")
            figure.savefig(paths[-1], dpi=110)
    return paths


def losses(history: History) -> "Figure | None":
    """Every metric with `loss` in its name over the steps, one panel each."""
    return _over_steps({name: line for name, line in history.items() if "loss" in _last(name)})


def lengths(history: History) -> "Figure | None":
    """Answer length and the share of answers that end, over the steps."""
    wanted = ("length", "eos_rate")
    return _over_steps({name: line for name, line in history.items() if _last(name) in wanted})


def reward_against_kl(history: History) -> "Figure | None":
    """What the policy paid in KL for its reward: one dot a step, from light (first) to dark (last).

    A curve that bends down while KL grows is over-optimisation of the reward model.
    """
    kl = _find(history, "kl")
    reward = _find(history, "score") or _find(history, "reward")
    if not kl or not reward:
        return None
    scores = dict(reward)
    points = [(value, scores[step], step) for step, value in kl if step in scores]
    figure, axes = page(1)
    across, up, steps = zip(*points, strict=True)
    axes[0].plot(across, up, color="0.85", linewidth=1)
    dots = axes[0].scatter(across, up, c=steps, cmap="viridis_r", s=18, zorder=2)
    figure.colorbar(dots, label="step")
    axes[0].set(xlabel="KL from the reference (nats an answer)", ylabel="reward")
    return figure


def reliability(bins: Sequence[Mapping[str, float]]) -> "Figure | None":
    """Predicted against observed share of pairs whose first answer won; the diagonal is calibrated.

    Args:
        bins: mappings with `predicted` and `observed` in [0, 1] and `count`, the pairs in the bin.
    """
    filled = [b for b in bins if b["count"]]
    if not filled:
        return None
    figure, axes = page(1)
    most = max(b["count"] for b in filled)
    axes[0].plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1)
    axes[0].plot([b["predicted"] for b in filled], [b["observed"] for b in filled], color="C0")
    axes[0].scatter(
        [b["predicted"] for b in filled],
        [b["observed"] for b in filled],
        s=[10 + 90 * b["count"] / most for b in filled],
    )
    axes[0].set(xlabel="predicted", ylabel="observed (dot size: pairs)", xlim=(0, 1), ylim=(0, 1))
    return figure


def _over_steps(lines: History) -> "Figure | None":
    if not lines:
        return None
    figure, axes = page(len(lines))
    for panel, (name, line) in zip(axes, sorted(lines.items()), strict=True):
        steps, values = zip(*_thin(line), strict=True)
        panel.plot(steps, values, linewidth=1.2, marker="." if len(steps) < 40 else None)
        panel.set(xlabel="step", ylabel=name)
    return figure


def _thin(line: list[tuple[int, float]]) -> list[tuple[float, float]]:
    size = -(-len(line) // MAX_POINTS)
    groups = [line[start : start + size] for start in range(0, len(line), size)]
    return [
        (sum(step for step, _ in group) / len(group), sum(value for _, value in group) / len(group))
        for group in groups
    ]


def page(panels: int, width: float = 5.2, height: float = 3.6) -> "tuple[Figure, list[Axes]]":
    """An empty figure with panels side by side, each `width` by `height` inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that only plots should cost

    figure = Figure(figsize=(width * panels, height), layout="constrained")
    axes = [figure.add_subplot(1, panels, place + 1) for place in range(panels)]
    for panel in axes:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _find(history: History, what: str) -> list[tuple[int, float]]:
    return next((line for name, line in sorted(history.items()) if _last(name) == what), [])


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]
