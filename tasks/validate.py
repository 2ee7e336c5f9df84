"""Stage validate: which rows of the feedback a round may use, and whether it may go on."""

from pathlib import Path

from roundhouse.stage import Stage, run


def work(stage: Stage) -> None:
    """Reads data/feedback, writes out/validate."""
    from roundhouse.checks import stage as checks  # noqa: PLC0415 - pandas and GX take seconds

    settings = stage.settings
    checks.run(Path("data/feedback"), stage.out, settings.validation, settings.split, stage.inputs)


if __name__ == "__main__":
    run("validate", work)
