"""Stage `raters`: who agrees with whom, who is believed how far, and votes as training pairs."""

from pathlib import Path

from roundhouse import jsonl, settings
from roundhouse.raters import stage


def main() -> None:
    """Reads data/feedback and out/validate, writes out/raters."""
    params = settings.load(Path("params.yaml"))
    stage.run(
        Path("data/feedback"),
        Path("out/validate"),
        Path("out/raters"),
        params.raters,
        params.split,
        jsonl.read_json(Path("inputs.json")),
    )


if __name__ == "__main__":
    main()
