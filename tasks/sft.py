"""Stage sft: fine-tunes the base model on demonstrations and corrections."""

from pathlib import Path

from roundhouse import journal, jsonl, settings


def main() -> None:
    """Reads out/raters, writes out/sft."""
    from roundhouse.learn import sft  # noqa: PLC0415 - torch and transformers take seconds

    params = settings.load(Path("params.yaml"))
    seed = jsonl.read_json(Path("inputs.json"))["seed"]
    log = journal.Journal(Path("logs/sft.jsonl"))
    sft.run(Path("out/raters"), Path("out/sft"), params, seed, log)


if __name__ == "__main__":
    main()
