"""Stage `reward`: trains the reward model, and the judge that PPO never sees."""

from pathlib import Path

from roundhouse.stage import Stage, run


def work(stage: Stage) -> None:
    """Reads out/raters, out/sft and earlier/, writes out/reward."""
    from roundhouse.learn import parallel, reward  # noqa: PLC0415 - torch and transformers take seconds
    from roundhouse.learn.prequential import Earlier  # noqa: PLC0415 - as above

    # A round that an older version began has no such input.
    known = stage.inputs.get("earlier_reward")
    with parallel.joined():
        reward.run(
            stage.of("raters"),
            stage.of("sft"),
            stage.out,
            stage.settings,
            stage.inputs["seed"],
            stage.log,
            Earlier(Path("earlier") / "model", **known) if known else None,
            stage.checkpoints,
        )


if __name__ == "__main__":
    run("reward", work, shared=True)
