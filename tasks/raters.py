"""Stage raters: who agrees with whom, who is believed how far, and votes as training pairs."""

from pathlib import Path

from roundhouse.stage import Stage, run


def work(stage: Stage) -> None:
    """Reads data/feedback and out/validate, writes out/raters."""
    from roundhouse.raters import stage as raters  # noqa: PLC0415 - pandas takes a second

    settings = stage.settings
    raters.run(
        Path("data/feedback"),
        stage.of("validate"),
        stage.out,
        settings.raters,
        settings.split,
        stage.inputs,
    )


if __name__ == "__main__":
    run("raters", work)
