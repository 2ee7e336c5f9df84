"""Number by number, one PPO step of ours against the same step of TRL 1.12.0.

    make peers && .venv/bin/python benchmarks/agreement.py

For each model family: a tiny policy that ends some answers and not others, a reference that is not
the policy, a reward model and a critic, all of random weights. TRL runs a step of its own trainer in
.venv-peers: it samples, scores, computes, and makes one update an epoch. Ours then works on the
answers that TRL sampled, with the same weights and settings. Prints the largest absolute difference
of each quantity; the exit code is 1 if one is over its tolerance. `--json FILE` writes them too.
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Adam
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)
from transformers.utils import logging

from roundhouse import settings
from roundhouse.learn import models, optimizers, ppo, rl, sampling, text
from roundhouse.learn.reward_model import RewardModel
from roundhouse.learn.tokenizer import word_level

PROJECT = Path(__file__).resolve().parents[1]
PEERS = PROJECT / ".venv-peers" / "bin" / "python"
SEED, BATCH, LIMIT = 3, 16, 12
WORDS = [f"w{number}" for number in range(33)]
SIZE = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DEEP = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(
        **SIZE, **DEEP, intermediate_size=48, num_key_value_heads=2, tie_word_embeddings=True
    ),
    "gpt2": lambda: GPT2Config(**SIZE, n_embd=32, n_layer=2, n_head=2, n_positions=64),
    "qwen2": lambda: Qwen2Config(
        **SIZE, **DEEP, intermediate_size=48, num_key_value_heads=1, tie_word_embeddings=False
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**SIZE, **DEEP, intermediate_size=48),
}
#: What both sides are told. TRL knows no clamp of scores and does not use its norm of gradients.
OURS = {
    "ppo.batch": BATCH, "ppo.minibatch": BATCH, "ppo.epochs": 4, "ppo.lr": 0.003,
    "ppo.critic_lr": 0.003, "ppo.kl_coef": 0.2, "ppo.gamma": 0.98, "ppo.lam": 0.9,
    "ppo.temperature": 0.8, "ppo.missing_eos": "subtract", "ppo.eos_penalty": 0.7,
    "ppo.reward_clip": 1e6, "ppo.max_grad_norm": 1e6,
}  # fmt: skip
#: Largest difference that passes. Single precision gives 1e-6 an operation; four updates of Adam,
#: which divides by the size of small gradients, widen it.
TOLERANCES = {
    "logprobs": 1e-4, "reference logprobs": 1e-4, "KL": 1e-4, "scores": 1e-4, "values": 1e-4,
    "rewards": 1e-4, "advantages": 1e-3, "returns": 1e-4, "policy loss": 1e-4, "value loss": 1e-4,
    "clip fraction": 1e-6, "value clip fraction": 1e-6, "policy weights": 1e-4,
    "critic weights": 1e-4,
}  # fmt: skip


class Case(NamedTuple):
    """The four models of a step, and its prompts as tokens."""

    policy: PreTrainedModel
    reference: PreTrainedModel
    reward: PreTrainedModel
    critic: PreTrainedModel
    prompts: list[list[int]]


class Steady(optimizers.Optimizers):
    """A learning rate that stays, as TRL's does within a batch."""

    def __init__(self, adam: Adam) -> None:
        self.parts, self.schedules = [adam], []

    def step(self) -> None:
        """One update, and no step of the schedule."""
        self.parts[0].step()
        self.parts[0].zero_grad()


def case(family: str) -> Case:
    """Models of one family and their prompts, the same each time."""
    torch.manual_seed(SEED)
    configuration = FAMILIES[family]()
    policy = AutoModelForCausalLM.from_config(configuration).eval()
    reference = AutoModelForCausalLM.from_config(configuration).eval()
    prompts = [torch.randint(7, 40, (3 + row % 7,)).tolist() for row in range(BATCH)]
    for model in (policy, reference):
        fit(model, prompts)
    configuration.num_labels = 1
    scorers = [AutoModelForSequenceClassification.from_config(configuration).eval() for _ in "rc"]
    for scorer in scorers:
        # The usual small start would make every score and value nearly 0.
        torch.nn.init.normal_(scorer.score.weight, std=0.3)
    return Case(policy, reference, *scorers, prompts)


def fit(model: PreTrainedModel, prompts: list[list[int]]) -> None:
    """A few steps on random words, so that answers end now and then and never hold the pad token.

    TRL takes every pad token in an answer for its end.
    """
    adam = Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        answers = []
        for _ in prompts:
            length = min(int(torch.empty(()).exponential_(1 / 14)) + 1, LIMIT)
            answers.append([*torch.randint(7, 40, (length,)).tolist(), 2][:LIMIT])
        batch = text.collate(prompts, answers, 0)
        logprobs = models.response_logprobs(model, batch, 1.0)
        (-rl.masked_mean(logprobs, batch.action_mask)).backward()
        adam.step()
        adam.zero_grad()


def write(given: Case, told: settings.PpoSettings, folder: Path) -> None:
    """The folder that the other side reads."""
    tokenizer = word_level(WORDS)
    for name in ("policy", "reference", "reward", "critic"):
        getattr(given, name).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    content = {"prompts": given.prompts, "limit": LIMIT, "seed": SEED, "ppo": told.model_dump()}
    (folder / "case.json").write_text(json.dumps(content), encoding="utf-8")


def head(scorer: PreTrainedModel) -> RewardModel:
    """The project's reward model on the trunk and head of a transformers one, which has no bias."""
    made = RewardModel(scorer.base_model, "last")
    made.head.weight = scorer.score.weight
    made.head.bias.requires_grad_(False)
    return made


def compare(given: Case, told: settings.PpoSettings, theirs: dict[str, Tensor]) -> dict[str, float]:
    """Our step on TRL's answers; the largest absolute difference of each quantity."""
    queries, tokens = theirs["queries"], theirs["responses"]
    prompts = [[token for token in row if token != 0] for row in queries.tolist()]
    lengths, ended = rl.end_of_response(tokens, 2)
    mask = rl.action_mask(lengths, LIMIT)
    if tokens.shape[1] < LIMIT or ended.all() or not ended.any() or (tokens[mask] == 0).any():
        sys.exit("these answers show nothing: some must end, some not, and none hold a pad token")
    batch = text.collate(prompts, [r[:n] for r, n in zip(tokens.tolist(), lengths, strict=True)], 0)
    with torch.no_grad():
        logprobs = models.response_logprobs(given.policy, batch, told.temperature)
    logprobs = torch.where(mask, logprobs, 0.0)
    answers = sampling.Answers(tokens, logprobs, torch.zeros_like(logprobs), lengths, ended)
    policy, critic = copy.deepcopy(given.policy), head(copy.deepcopy(given.critic))
    task = ppo.Task(prompts, given.reference, head(given.reward), 2, 0, LIMIT, SEED, told)
    groups = [
        {"params": list(policy.parameters()), "lr": told.lr},
        {"params": models.parameters([critic]), "lr": told.critic_lr},
    ]
    state = ppo.State(
        policy,
        critic,
        Steady(Adam(groups, eps=1e-5)),
        torch.Generator().manual_seed(SEED),
        rl.KlController(told.kl_coef, told.kl_target, told.kl_horizon),
    )
    with torch.no_grad():
        reference = models.response_logprobs(given.reference, batch, told.temperature)
    rollout = ppo.roll_out(state, task, prompts, answers)
    updates = ppo.learn(state, task, rollout)

    def apart(ours: Tensor, name: str, where: Tensor | None = None) -> float:
        other = theirs[name]
        difference = (ours - other).abs()
        return (difference if where is None else difference[where]).max().item()

    def epochs(ours: str, name: str) -> float:
        return apart(torch.tensor([update[ours] for update in updates]), name + "_stats")

    def weights(kind: str, module: torch.nn.Module, rename: Callable[[str], str]) -> float:
        own = {f"{kind}/{rename(name)}": value for name, value in module.named_parameters()}
        return max(apart(value, name) for name, value in own.items() if name in theirs)

    prefix = given.critic.base_model_prefix
    theirs = {k: v.flatten() if k.endswith("_stats") else v for k, v in theirs.items()}
    return {
        "logprobs": apart(rollout.logprobs, "logprobs", mask),
        "reference logprobs": apart(reference, "ref_logprobs", mask),
        "KL": apart(rollout.kl, "kl"),
        "scores": apart(rollout.final, "scores"),
        "values": apart(rollout.values, "values"),
        "rewards": apart(rollout.rewards, "rewards"),
        "advantages": apart(rollout.advantages, "advantages"),
        "returns": apart(rollout.returns, "returns"),
        "policy loss": epochs("policy_loss", "pg_loss"),
        "value loss": epochs("value_loss", "vf_loss"),
        "clip fraction": epochs("clip_fraction", "pg_clipfrac"),
        "value clip fraction": epochs("value_clip_fraction", "vf_clipfrac"),
        "policy weights": weights("policy", policy, str),
        "critic weights": weights("critic", critic.backbone, lambda name: f"{prefix}.{name}"),
    }


def differences() -> dict[str, dict[str, float]]:
    """By family, the largest difference of each quantity."""
    told = settings.load(PROJECT / "params.yaml", [f"{k}={v}" for k, v in OURS.items()]).ppo
    found = {}
    with tempfile.TemporaryDirectory() as root:
        cases = {family: case(family) for family in FAMILIES}
        folders = {family: Path(root) / family for family in FAMILIES}
        for family, given in cases.items():
            write(given, told, folders[family])
        command = [PEERS, PROJECT / "benchmarks" / "peers" / "trl_step.py", *folders.values()]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"TRL did not finish: {done.stderr[-2000:]}")
        for family, given in cases.items():
            found[family] = compare(given, told, load_file(folders[family] / "trl.safetensors"))
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """The differences as Markdown."""
    lines = [f"| largest difference | {' | '.join(found)} | tolerance |"]
    lines.append("| --- |" + " --- |" * (len(found) + 1))
    for quantity, tolerance in TOLERANCES.items():
        cells = [f"{by_quantity[quantity]:.1e}" for by_quantity in found.values()]
        lines.append(f"| {quantity} | {' | '.join(cells)} | {tolerance:.0e} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table; fails where a difference is over its tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="file to write the differences to")
    arguments = parser.parse_args()
    if not PEERS.exists():
        sys.exit("no .venv-peers here: `make peers` installs TRL there")
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    found = differences()
    sys.stdout.write(table(found) + "\n")
    if arguments.json:
        content: dict[str, Any] = {"differences": found, "tolerances": TOLERANCES}
        arguments.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    worse = [
        f"{family}: {quantity}"
        for family, by_quantity in found.items()
        for quantity, value in by_quantity.items()
        if not value <= TOLERANCES[quantity]
    ]
    if worse:
        sys.exit(f"over tolerance: {', '.join(worse)}")


if __name__ == "__main__":
    main()
