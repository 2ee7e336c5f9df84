"""Stage ppo: trains the policy against the reward model, near its reference."""

from pathlib import Path

from roundhouse import journal, jsonl, settings


def main() -> None:
    """Reads out/raters, out/sft and out/reward, writes out/ppo."""
    from roundhouse.learn import ppo  # noqa: PLC0415 - torch and transformers take seconds

    params = settings.load(Path("params.yaml"))
    seed = jsonl.read_json(Path("inputs.json"))["seed"]
    log = journal.Journal(Path("logs/ppo.jsonl"))
    out = Path("out")
    ppo.run(out / "raters", out / "sft", out / "reward", out / "ppo", params, seed, log)


if __name__ == "__main__":
    main()
