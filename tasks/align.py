"""Stage `align`: trains the challenger, by PPO against the reward model or by DPO."""

from roundhouse.stage import Stage, run


def work(stage: Stage) -> None:
    """Reads out/raters, out/sft and out/reward, writes out/align."""
    from roundhouse.learn import align, parallel  # noqa: PLC0415 - torch takes seconds
    from roundhouse.learn.checkpoint import Checkpoints  # noqa: PLC0415

    with parallel.joined():
        align.run(
            stage.of("raters"),
            stage.of("sft"),
            stage.of("reward"),
            stage.out,
            stage.settings,
            stage.inputs["seed"],
            stage.log,
            Checkpoints(stage.checkpoints, stage.settings.checkpoints),
        )


if __name__ == "__main__":
    run("align", work, shared=True)
