"""Supervised fine-tuning and the reward model, here and in TRL 1.12.0, side by side.

    make peers && .venv/bin/python -m benchmarks.supervised --out supervised-benchmark.json

Both sides train the same random Llama for one pass over the same rows: prompts of 8 to 40 words,
answers of 16 tokens in the mean and 48 at most; batches of 32 rows or pairs; AdamW, gradients
clipped at 1, single precision; loss on answers alone, scores read at the last token. Ours takes
batches of similar length, as the stages do; TRL takes them at random, its default, and with
`--grouped` by length too, for supervised fine-tuning: its reward trainer cannot. The first steps of
each process are left out. `--quick` runs little.
"""

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from benchmarks import random_models, side_by_side
from benchmarks.peers.measure import Meter
from benchmarks.random_models import FIRST_WORD, SIZES, head
from roundhouse import params
from roundhouse.learn import models, optimizers, reward, sft, text
from roundhouse.learn.models import Policy
from roundhouse.learn.reward import Pair
from roundhouse.learn.reward_model import Scorer
from roundhouse.learn.sft import Demonstration
from roundhouse.learn.tokenizer import word_level
from roundhouse.settings import Settings

SEED, BATCH, WARM_UP, PROMPT, LIMIT = 5, 32, 4, 64, 48
KINDS = ("sft", "reward")
TOLD: dict[str, Any] = {
    "model.prompt_tokens": PROMPT, "model.response_tokens": LIMIT,
    "sft.epochs": 1, "sft.batch": BATCH, "sft.lr": "1.0e-5", "sft.muon_lr": 0.0, "sft.warmup": 0.0,
    "reward.epochs": 1, "reward.batch": BATCH, "reward.lr": "1.0e-5", "reward.weight_decay": 0.0,
    "reward.pooling": "last",
}  # fmt: skip


class Case(NamedTuple):
    """One line of the table."""

    kind: str
    size: str
    threads: int


def told(threads: int) -> Settings:
    """The settings of our side; TRL's are written from the same."""
    given = TOLD | {"compute.threads": threads}
    changes = [f"{name}={value}" for name, value in given.items()]
    return params.load(side_by_side.PROJECT / "params.yaml", changes)


def write(case: Case, folder: Path, rows: int, grouped: bool) -> None:
    """The models and the rows, as text for us and as the same tokens for TRL."""
    torch.manual_seed(SEED)
    config = random_models.llama(case.size)
    tokenizer = word_level([f"w{n}" for n in range(FIRST_WORD, config.vocab_size)])
    policy, reward = random_models.causal(config), random_models.scorer(config)
    for name, model in (("policy", policy), ("reward", reward)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    said = [_texts(config.vocab_size) for _ in range(rows)]
    prompts = text.encode_prompts(tokenizer, [_chat(prompt) for prompt, _, _ in said], PROMPT)
    first = text.encode_responses(tokenizer, [a for _, a, _ in said], LIMIT)
    second = text.encode_responses(tokenizer, [b for _, _, b in said], LIMIT)
    together = zip(prompts, first, second, strict=True)
    if case.kind == "sft":
        tokens = [
            {"input_ids": p + a, "completion_mask": [0] * len(p) + [1] * len(a)}
            for p, a, _ in together
        ]
    else:
        tokens = [{"chosen_ids": p + a, "rejected_ids": p + b} for p, a, b in together]
    content = {
        "kind": case.kind, "threads": case.threads, "seed": SEED, "batch": BATCH, "lr": 1e-5,
        "grouped": grouped, "texts": said, "rows": tokens,
    }  # fmt: skip
    (folder / "case.json").write_text(json.dumps(content), encoding="utf-8")


def _texts(words: int) -> tuple[str, str, str]:
    """A prompt and two answers to it."""

    def draw(count: int) -> str:
        return " ".join(f"w{n}" for n in torch.randint(FIRST_WORD, words, (count,)).tolist())

    lengths = torch.empty(2).exponential_(1 / 16).int().clamp(1, LIMIT - 1).tolist()
    return draw(int(torch.randint(8, 41, ()))), draw(lengths[0]), draw(lengths[1])


def _chat(said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": said}]


def ours(folder: Path, result: Path) -> None:
    """A process of our side: trains as the stage does, and writes what it took."""
    meter = Meter()
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    settings = told(case["threads"])
    optimizers.start(case["seed"], case["threads"])
    tokenizer = models.load_tokenizer(folder / "policy")

    def log(*_: Any) -> None:
        meter.lap()

    if case["kind"] == "sft":
        policy = Policy(models.load_weights(AutoModelForCausalLM, folder / "policy"), tokenizer)
        shown = [Demonstration(_chat(prompt), a, 1.0) for prompt, a, _ in case["texts"]]
        sft.train(policy, shown, settings, case["seed"], log)
    else:
        model = models.load_weights(AutoModelForSequenceClassification, folder / "reward")
        scorer = Scorer(head(model), tokenizer, PROMPT, LIMIT)
        pairs = [Pair(_chat(prompt), a, b, 1.0, 1.0, 1, "", 1) for prompt, a, b in case["texts"]]
        reward.train(scorer, pairs, settings, case["seed"], log)
    meter.write(result)


def measure(case: Case, rows: int, repeats: int, grouped: bool) -> dict[str, Any]:
    """Both sides on a case, in turn; rows a second, over all steps after the first few."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write(case, folder, rows, grouped)
        runs = side_by_side.alternate(
            {
                "trl": [side_by_side.PEERS, "-m", "benchmarks.peers.trl_supervised", folder],
                "ours": [sys.executable, "-m", "benchmarks.supervised", "--side", folder],
            },
            folder / "result.json",
            case.threads,
            repeats,
        )
    found: dict[str, Any] = case._asdict() | {"grouped": grouped}
    for side, of_side in runs.items():
        found[side] = {"peak_mb": side_by_side.megabytes(of_side)}
        for of in ("seconds", "cpu_seconds"):
            laps = [run[of][WARM_UP:] for run in of_side]
            found[side][of] = side_by_side.spread([sum(part) / len(part) for part in laps])
    return found | {"runs": runs}


def row(found: dict[str, Any]) -> dict[str, str]:
    """A case as a line of the table."""
    trl, own = found["trl"], found["ours"]

    def ratio(of: str) -> str:
        return f"{trl[of]['median'] / own[of]['median']:.2f}"

    return {
        "case": f"{found['kind']}, {found['size']}{', TRL grouped' if found['grouped'] else ''}",
        "threads": str(found["threads"]),
        "TRL, s a step": side_by_side.shown(trl["seconds"], 3),
        "here": side_by_side.shown(own["seconds"], 3),
        "ratio": ratio("seconds"),
        "of processor time": ratio("cpu_seconds"),
        "TRL, MB": f"{trl['peak_mb']['median']:.0f}",
        "MB": f"{own['peak_mb']['median']:.0f}",
    }


def main() -> None:
    """Measures every case, prints the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="file to write the figures to, as JSON")
    parser.add_argument("--quick", action="store_true", help="the small size, few rows, once")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5, help="processes a side")
    parser.add_argument("--rows", type=int, default=2048, help="demonstrations or pairs")
    parser.add_argument("--grouped", action="store_true", help="TRL by length, too (sft)")
    parser.add_argument("--side", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    side_by_side.quiet()
    if given.side:
        ours(*given.side)
        return
    side_by_side.need_peers()
    if given.quick:
        given.sizes, given.threads, given.repeats, given.rows = ["1M"], given.threads[:1], 1, 512
    every = itertools.product(given.kinds, given.sizes, given.threads)
    cases = (
        measure(case, given.rows, given.repeats, grouped)
        for case in itertools.starmap(Case, every)
        for grouped in ((False, True) if given.grouped and case.kind == "sft" else (False,))
    )
    side_by_side.tell(cases, row, TOLD, given.out)


if __name__ == "__main__":
    main()
