"""`python -m roundhouse.simulate --round N --out FILE [--model FOLDER --policy NAME]`.

Writes what the simulated team hands in for a round: without a model the archive, with one the
team's view of pairs of answers that are sampled from it. Runs in the round's clone.
"""

import argparse
from pathlib import Path

from roundhouse import jsonl, params
from roundhouse.settings import Settings
from roundhouse.simulate.archive import archive, prompts, rate
from roundhouse.simulate.rating import Pair


def main() -> None:
    """Reads the arguments and writes the rows."""
    parser = argparse.ArgumentParser(prog="python -m roundhouse.simulate")
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--policy", default="")
    options = parser.parse_args()
    settings = params.load(Path("params.yaml"))
    if options.model is None:
        rows = archive(settings, settings.seed)
    else:
        pairs = sample_pairs(options.model, settings, options.round)
        rows = rate(pairs, settings, options.round, settings.seed, options.policy)
    jsonl.write(options.out, rows)


def sample_pairs(model: Path, settings: Settings, round_number: int) -> list[Pair]:
    """Two sampled answers to each of `simulate.pairs` prompts."""
    import torch  # noqa: PLC0415 - the archive needs no torch

    from roundhouse.learn.models import load  # noqa: PLC0415 - as above
    from roundhouse.learn.sampling import answer  # noqa: PLC0415 - as above

    torch.set_num_threads(settings.compute.threads or torch.get_num_threads())
    seed = settings.seed * 1000 + round_number
    asked = prompts(settings, settings.simulate.pairs, seed)
    chats = [[{"role": "user", "content": text}] for text in asked for _ in range(2)]
    answers = answer(load(model), chats, settings.model, settings.ppo.temperature, seed)
    texts = [one.text for one in answers]
    return list(zip(asked, texts[::2], texts[1::2], strict=True))


if __name__ == "__main__":
    main()
