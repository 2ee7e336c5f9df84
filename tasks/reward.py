"""Stage reward: trains the reward model, and the judge that PPO never sees."""

from pathlib import Path

from roundhouse import journal, jsonl, settings


def main() -> None:
    """Reads out/raters and out/sft, writes out/reward."""
    from roundhouse.learn import reward  # noqa: PLC0415 - torch and transformers take seconds

    params = settings.load(Path("params.yaml"))
    seed = jsonl.read_json(Path("inputs.json"))["seed"]
    log = journal.Journal(Path("logs/reward.jsonl"))
    reward.run(Path("out/raters"), Path("out/sft"), Path("out/reward"), params, seed, log)


if __name__ == "__main__":
    main()
