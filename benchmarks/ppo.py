"""PPO here and in TRL 1.12.0: the same work, side by side.

    make peers && .venv/bin/python -m benchmarks.ppo --out ppo-benchmark.json

Both sides get the same policy, reference, reward model and critic (random Llamas), the same
prompts of 32 tokens and the same settings: batch 64, minibatch 16, 4 epochs, up to 48 tokens an
answer, a critic apart, single precision. The policy's chance of the end token is set: never (worst
case), or 1 in 16 at each token, so that most answers end early, as a trained policy's do (real).
The learning rate is so small that this stays so. Each run is a process; sides alternate; the first
batch of each is left out. Prints medians over batches, and writes JSON. `--quick` runs little.
Where there is a GPU both sides train on it, and memory is the peak of its allocations.

Two more sides do less, and so stand beside the comparison: ours with a critic on the policy's trunk
(`ppo.critic shared`), and without a critic (`ppo.algorithm rloo`, 4 answers to each of 16 prompts).
They have as many episodes of the same policy, at the same settings otherwise. Ratios are TRL's PPO
over each.
"""

import argparse
import copy
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from benchmarks import random_models, side_by_side
from benchmarks.peers.measure import Meter
from benchmarks.random_models import EOS, FIRST_WORD, PAD, SIZES, head
from roundhouse import params
from roundhouse.learn import models, optimizers, ppo
from roundhouse.learn.ppo_state import Task
from roundhouse.learn.tokenizer import word_level
from roundhouse.settings import PpoSettings

SEED, PROMPT, LIMIT, PROMPTS = 5, 32, 48, 256
#: The chance that an answer ends at a token.
ANSWERS = {"worst": 0.0, "real": 1 / 16}
TOLD: dict[str, Any] = {
    "ppo.batch": 64, "ppo.minibatch": 16, "ppo.epochs": 4, "ppo.lr": "1.0e-6",
    "ppo.critic_lr": "1.0e-6", "ppo.missing_eos": "subtract", "ppo.eos_penalty": 1.0,
}  # fmt: skip

#: What our other sides change: one trunk for both models; answers to the same prompt are compared.
OTHERS = {
    "shared": ["ppo.critic=shared"],
    "rloo": ["ppo.algorithm=rloo", "ppo.samples=4"],
}


class Case(NamedTuple):
    """One line of the table."""

    size: str
    answers: str
    threads: int


def told(steps: int, changes: list[str]) -> PpoSettings:
    """The settings of both sides; `changes` are ours alone."""
    given = [f"{name}={value}" for name, value in (TOLD | {"ppo.steps": steps}).items()]
    return params.load(side_by_side.PROJECT / "params.yaml", [*given, *changes]).ppo


def write(case: Case, folder: Path, steps: int) -> None:
    """The models, prompts and settings that both sides read."""
    torch.manual_seed(SEED)
    config = random_models.llama(case.size)
    policy = random_models.causal(config)
    nn.Module.to(policy, models.device())
    prompts = torch.randint(FIRST_WORD, config.vocab_size, (PROMPTS, PROMPT))
    end_at_rate(policy, prompts, ANSWERS[case.answers])
    reward = random_models.scorer(config)
    tokenizer = word_level([f"w{n}" for n in range(FIRST_WORD, config.vocab_size)])
    for name, model in (("policy", policy), ("reward", reward)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    content = {
        "prompts": prompts.tolist(),
        "limit": LIMIT,
        "seed": SEED,
        "threads": case.threads,
        "ppo": told(steps, []).model_dump(),
    }
    (folder / "case.json").write_text(json.dumps(content), encoding="utf-8")


@torch.no_grad()
def end_at_rate(model: PreTrainedModel, prompts: torch.Tensor, rate: float) -> None:
    """Makes the model end with probability `rate` at each token, and never say the pad token.

    Channel 0 of the residual stream becomes a constant that no layer writes to; what the (tied)
    head reads of it for a token is that token's bias.
    """
    words = cast(nn.Embedding, model.get_input_embeddings()).weight
    words[:, 0], prompts = 0.1, prompts.to(words.device)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight[0] = 0
    words[[PAD, EOS], 1:] = 0
    words[[PAD, EOS], 0] = -100.0
    if rate == 0:
        return
    low, high = -100.0, 100.0
    for _ in range(40):
        words[EOS, 0] = (low + high) / 2
        chance = model(prompts[:32]).logits.softmax(dim=-1)[..., EOS].mean().item()
        low, high = (low, (low + high) / 2) if chance > rate else ((low + high) / 2, high)


def ours(folder: Path, changes: list[str], result: Path) -> None:
    """A process of our side: trains as the stage does, and writes what it took."""
    meter = Meter()
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    optimizers.start(case["seed"], case["threads"])
    policy = models.load_weights(AutoModelForCausalLM, folder / "policy")
    scorer = models.load_weights(AutoModelForSequenceClassification, folder / "reward")
    task = Task(
        case["prompts"],
        copy.deepcopy(policy),
        head(scorer),
        EOS,
        PAD,
        case["limit"],
        case["seed"],
        told(case["ppo"]["steps"], changes),
    )
    state = ppo.begin(policy, task)
    lengths, phases = [], []
    for _ in range(task.settings.steps):
        metrics, seconds = ppo.train_step(state, task)
        meter.lap()
        lengths.append(metrics["ppo/length"])
        phases.append(seconds)
    meter.write(result, lengths=lengths, phases=phases)


def measure(case: Case, given: argparse.Namespace) -> dict[str, Any]:
    """All sides on a case, in turn."""
    own = [sys.executable, "-m", "benchmarks.ppo", "--set", *given.set]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write(case, folder, given.steps)
        runs = side_by_side.alternate(
            {
                "trl": [side_by_side.PEERS, "-m", "benchmarks.peers.trl_ppo", folder],
                "ours": [*own, "--side", folder],
            }
            | {
                side: [*own, *changed, "--side", folder]
                for side, changed in OTHERS.items()
                if side in given.sides
            },
            folder / "result.json",
            case.threads,
            given.repeats,
        )
    found: dict[str, Any] = case._asdict()
    for side, of_side in runs.items():
        found[side] = {
            name: side_by_side.laps(of_side, name, warm_up=1)
            for name in ("seconds", "cpu_seconds", "lengths")
        } | {"peak_mb": side_by_side.megabytes(of_side)}
    return found | {"runs": runs}


def row(found: dict[str, Any]) -> dict[str, str]:
    """A case as a line of the table."""
    trl, own = found["trl"], found["ours"]
    others = {side: found[side] for side in OTHERS if side in found}
    batch = TOLD["ppo.batch"]

    def ratio(of: str, side: dict[str, Any] = own) -> float:
        return float(trl[of]["median"] / side[of]["median"])

    return {
        "case": f"{found['size']}, {found['answers']}",
        "threads": str(found["threads"]),
        "tokens": ", ".join(
            f"{side['lengths']['median']:.1f}" for side in (trl, own, *others.values())
        ),
        "TRL, s a batch": side_by_side.shown(trl["seconds"]),
        "here": side_by_side.shown(own["seconds"]),
        "ratio": f"{ratio('seconds'):.2f}",
        "of processor time": f"{ratio('cpu_seconds'):.2f}",
        "episodes/s": f"{batch / trl['seconds']['median']:.1f}, "
        f"{batch / own['seconds']['median']:.1f}",
        "TRL, MB": f"{trl['peak_mb']['median']:.0f}",
        "MB": f"{own['peak_mb']['median']:.0f}",
        "ratio of MB": f"{1 / ratio('peak_mb'):.2f}",
    } | {
        f"{side}{name}": value
        for side, measured in others.items()
        for name, value in {
            "": side_by_side.shown(measured["seconds"]),
            ", ratio": f"{ratio('seconds', measured):.2f}",
            ", of processor time": f"{ratio('cpu_seconds', measured):.2f}",
            ", of MB": f"{1 / ratio('peak_mb', measured):.2f}",
        }.items()
    }


def main() -> None:
    """Measures every case, prints the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="file to write the figures to, as JSON")
    parser.add_argument("--quick", action="store_true", help="the small size, two batches, once")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["1M", "15M"])
    parser.add_argument("--answers", nargs="+", choices=ANSWERS, default=list(ANSWERS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument(
        "--sides",
        nargs="*",
        choices=OTHERS,
        default=list(OTHERS),
        help="of ours, beside PPO with a critic apart",
    )
    parser.add_argument("--repeats", type=int, default=5, help="processes a side")
    parser.add_argument("--steps", type=int, default=4, help="batches a process, the first unused")
    parser.add_argument("--set", nargs="*", default=[], help="settings of our side alone")
    parser.add_argument("--side", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    side_by_side.quiet()
    if given.side:
        ours(given.side[0], given.set, given.side[1])
        return
    side_by_side.need_peers()
    if given.quick:
        given.sizes, given.threads, given.repeats, given.steps = ["1M"], given.threads[:1], 1, 2
    every = itertools.product(given.sizes, given.answers, given.threads)
    cases = (measure(Case(*one), given) for one in every)
    side_by_side.tell(cases, row, TOLD, given.out)


if __name__ == "__main__":
    main()
