"""Stage `reward`: trains the reward model, and the judge that PPO never sees."""

from roundhouse.stage import Stage, run


def work(stage: Stage) -> None:
    """Reads out/raters and out/sft, writes out/reward."""
    from roundhouse.learn import reward  # noqa: PLC0415 - torch and transformers take seconds

    reward.run(
        stage.of("raters"),
        stage.of("sft"),
        stage.out,
        stage.settings,
        stage.inputs["seed"],
        stage.log,
        stage.checkpoints,
    )


if __name__ == "__main__":
    run("reward", work)
