"""Stage `validate`: which rows of the feedback a round may use, and whether it may go on."""

from pathlib import Path

from roundhouse import jsonl, settings
from roundhouse.checks import stage


def main() -> None:
    """Reads data/feedback, writes out/validate."""
    params = settings.load(Path("params.yaml"))
    stage.run(
        Path("data/feedback"),
        Path("out/validate"),
        params.validation,
        params.split,
        jsonl.read_json(Path("inputs.json")),
    )


if __name__ == "__main__":
    main()
