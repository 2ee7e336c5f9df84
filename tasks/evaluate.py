"""Stage evaluate: the challenger against the champion, or the reference, on held-out prompts."""

from pathlib import Path

from roundhouse.stage import Stage, run


def work(stage: Stage) -> None:
    """Reads out/raters, out/sft, out/reward, out/align and champion/, writes out/evaluate."""
    from roundhouse import evaluation  # noqa: PLC0415 - torch and transformers take seconds

    champion = stage.inputs["champion"]
    evaluation.run(
        Path(),
        stage.settings,
        stage.inputs["seed"],
        champion["sha256"] if champion else None,
        stage.log,
    )


if __name__ == "__main__":
    run("evaluate", work)
