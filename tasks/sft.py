"""Stage `sft`: fine-tunes the base model on demonstrations and corrections."""

from roundhouse.stage import Stage, run


def work(stage: Stage) -> None:
    """Reads out/raters, writes out/sft."""
    from roundhouse import model_folder  # noqa: PLC0415 - as light as the next one is heavy
    from roundhouse.learn import parallel, sft  # noqa: PLC0415 - torch and transformers take seconds
    from roundhouse.learn.checkpoint import Checkpoints  # noqa: PLC0415

    model_folder.require(stage.settings.model, stage.inputs["base"])
    kept = Checkpoints(stage.checkpoints, stage.settings.checkpoints)
    seed = stage.inputs["seed"]
    with parallel.joined():
        sft.run(stage.of("raters"), stage.out, stage.settings, seed, stage.log, kept)


if __name__ == "__main__":
    run("sft", work, shared=True)
