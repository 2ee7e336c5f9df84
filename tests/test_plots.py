"""Pictures are drawn where the numbers allow, and only there."""

from pathlib import Path

from roundhouse import plots

BINS = {"bins": [{"predicted": 0.3, "observed": 0.4, "count": 9}, {"predicted": 0.9, "count": 0}]}
HISTORY = {
    "ppo/policy_loss": [(1, 0.2), (2, 0.1)],
    "ppo/kl": [(1, 0.5), (2, 1.0), (3, 1.5)],
    "ppo/score": [(1, 0.1), (2, 0.4)],
    "ppo/length": [(1, 18.0), (2, 19.0)],
}


def test_every_picture_that_the_numbers_allow(tmp_path: Path) -> None:
    paths = plots.draw(HISTORY, BINS, tmp_path)
    names = ["losses.png", "reward_against_kl.png", "length.png", "calibration.png"]
    assert [path.name for path in paths] == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert plots.draw({}, None, tmp_path) == []


def test_reward_against_kl_takes_the_steps_that_have_both() -> None:
    figure = plots.reward_against_kl(HISTORY)
    assert figure is not None
    axes = figure.get_axes()[0]
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 0.1], [1.0, 0.4]]  # type: ignore[union-attr]
    assert plots.reward_against_kl({"ppo/kl": HISTORY["ppo/kl"]}) is None


def test_long_curves_are_thinned_to_their_means() -> None:
    line = [(step, float(step % 2)) for step in range(4 * plots.MAX_POINTS)]
    figure = plots.losses({"sft/loss": line})
    assert figure is not None
    drawn = figure.get_axes()[0].lines[0].get_ydata()
    assert len(drawn) == plots.MAX_POINTS  # type: ignore[arg-type]
    assert set(drawn) == {0.5}  # type: ignore[arg-type]
