"""Stage `ppo`: trains the policy against the reward model, near its reference."""

from roundhouse.stage import Stage, run


def work(stage: Stage) -> None:
    """Reads out/raters, out/sft and out/reward, writes out/ppo."""
    from roundhouse.learn import align, parallel  # noqa: PLC0415 - torch and transformers take seconds
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
    run("ppo", work, launch=True)
