"""Number by number, one PPO step of ours against the same step of TRL 1.12.0.

    make peers && .venv/bin/python -m benchmarks.agreement

For each model family: a tiny policy that ends some answers and not others, a reference that is
not the policy, a reward model and a critic, all of random weights. TRL runs a step of its own
trainer in .venv-peers: it samples, scores, computes, and makes one update an epoch. Ours then works
on the answers that TRL sampled, with the same weights and settings. Prints the largest absolute
difference of each quantity; the exit code is 1 if one is over the tolerance. `--json FILE` writes
them too.
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Adam
from transformers import (
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from benchmarks import random_models
from benchmarks.random_models import BOS, EOS, FIRST_WORD, PAD, head
from benchmarks.side_by_side import PEERS, PROJECT, need_peers, quiet
from roundhouse import params
from roundhouse.learn import models, optimizers, ppo, ppo_update, rl, sampling, text
from roundhouse.learn.alarms import Watch
from roundhouse.learn.ppo_state import State, Task
from roundhouse.learn.reward_model import RewardModel
from roundhouse.learn.rollout import Rollout
from roundhouse.learn.tokenizer import word_level
from roundhouse.settings import PpoSettings

SEED, BATCH, LIMIT, VOCABULARY = 3, 16, 12, 40
WORDS = [f"w{number}" for number in range(FIRST_WORD, VOCABULARY)]
SIZE: dict[str, Any] = {
    "vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS,
}  # fmt: skip
DEEP: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
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
#: Largest difference that passes, of any quantity. Seen are 1e-6 and less, and 4e-6 in the losses:
#: single precision gives 1e-7 a sum, and four updates by Adam widen it.
TOLERANCE = 1e-5


class Case(NamedTuple):
    """The four models of a step, and its prompts as tokens."""

    policy: PreTrainedModel
    reference: PreTrainedModel
    reward: PreTrainedModel
    critic: PreTrainedModel
    prompts: list[list[int]]


class Step(NamedTuple):
    """What our step saw, and the models after it."""

    rollout: Rollout
    reference: Tensor
    updates: list[dict[str, float]]
    policy: PreTrainedModel
    critic: RewardModel


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
    policy, reference = (random_models.causal(configuration) for _ in range(2))
    prompts = [words(3 + row % 7) for row in range(BATCH)]
    for model in (policy, reference):
        fit(model, prompts)
    reward, critic = (random_models.scorer(configuration) for _ in range(2))
    for scorer in (reward, critic):
        # The usual small start would make every score and value nearly 0.
        torch.nn.init.normal_(random_models.score(scorer).weight, std=0.3)
    return Case(policy, reference, reward, critic, prompts)


def words(count: int) -> list[int]:
    """Random tokens that are words."""
    drawn: list[int] = torch.randint(FIRST_WORD, VOCABULARY, (count,)).tolist()
    return drawn


def fit(model: PreTrainedModel, prompts: list[list[int]]) -> None:
    """A few steps on random words, so that answers end now and then and never hold the pad token.

    TRL takes every pad token in an answer for its end.
    """
    adam = Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        answers = []
        for _ in prompts:
            length = min(int(torch.empty(()).exponential_(1 / 14)) + 1, LIMIT)
            answers.append([*words(length), EOS][:LIMIT])
        batch = text.collate(prompts, answers, PAD)
        logprobs = models.response_logprobs(model, batch, 1.0)
        loss = -rl.masked_mean(logprobs, batch.action_mask)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        adam.zero_grad()


def write(given: Case, told: PpoSettings, folder: Path) -> None:
    """The folder that the other side reads."""
    tokenizer = word_level(WORDS)
    for name in ("policy", "reference", "reward", "critic"):
        getattr(given, name).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    content = {"prompts": given.prompts, "limit": LIMIT, "seed": SEED, "ppo": told.model_dump()}
    (folder / "case.json").write_text(json.dumps(content), encoding="utf-8")


def on_answers(given: Case, told: PpoSettings, tokens: Tensor) -> Step:
    """Our step on answers [B, T] that were sampled elsewhere."""
    lengths, ended = rl.end_of_response(tokens, EOS)
    own = [row[:n] for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    if tokens.shape[1] < LIMIT or ended.all() or not ended.any() or any(PAD in row for row in own):
        sys.exit("these answers show nothing: some must end, some not, and none hold a pad token")
    batch = text.collate(given.prompts, own, PAD)
    with torch.no_grad():
        logprobs = models.response_logprobs(given.policy, batch, told.temperature)
        reference = models.response_logprobs(given.reference, batch, told.temperature)
    logprobs = torch.where(batch.action_mask, logprobs, 0.0)
    answers = sampling.Answers(tokens, logprobs, torch.zeros_like(logprobs), lengths, ended)
    policy, critic = copy.deepcopy(given.policy), head(copy.deepcopy(given.critic))
    groups = [
        {"params": models.parameters([policy]), "lr": told.lr},
        {"params": models.parameters([critic]), "lr": told.critic_lr},
    ]
    state = State(
        "",  # No checkpoint is kept.
        policy,
        critic,
        Steady(Adam(groups, eps=1e-5)),
        torch.Generator().manual_seed(SEED),
        rl.KlController(told.kl_coef, told.kl_target, told.kl_horizon),
        Watch(told.alarms),
    )
    task = Task(given.prompts, given.reference, head(given.reward), EOS, PAD, LIMIT, SEED, told)
    rollout = ppo.roll_out(state, task, given.prompts, answers)
    return Step(rollout, reference, ppo_update.learn(state, task, rollout), policy, critic)


def compare(given: Case, told: PpoSettings, theirs: dict[str, Tensor]) -> dict[str, float]:
    """The largest absolute difference of each quantity between TRL's step and ours."""
    # TRL shuffles the prompts.
    prompts = [[token for token in row if token != PAD] for row in theirs["queries"].tolist()]
    ours = on_answers(given._replace(prompts=prompts), told, theirs["responses"])
    rollout, mask = ours.rollout, ours.rollout.batch.action_mask

    def apart(own: Tensor, name: str) -> float:
        return (own - theirs[name].view_as(own)).abs().max().item()

    def of_actions(own: Tensor, name: str) -> float:
        return (own - theirs[name])[mask].abs().max().item()

    def of_epochs(own: str, name: str) -> float:
        return apart(torch.tensor([update[own] for update in ours.updates]), name)

    trunk = given.critic.base_model_prefix
    critic: dict[str, Tensor] = {
        f"critic/{trunk}.{k}": v for k, v in ours.critic.backbone.named_parameters()
    }
    critic["critic/score.weight"] = ours.critic.head.weight
    policy = {f"policy/{k}": v for k, v in ours.policy.named_parameters()}
    return {
        "log-probabilities": of_actions(rollout.logprobs, "logprobs"),
        "the reference's": of_actions(ours.reference, "ref_logprobs"),
        "KL": apart(rollout.kl, "kl"),
        "scores": apart(rollout.final, "scores"),
        "values": apart(rollout.values, "values"),
        "rewards": apart(rollout.rewards, "rewards"),
        "advantages": apart(rollout.advantages, "advantages"),
        "returns": apart(rollout.returns, "returns"),
        "policy loss, 4 epochs": of_epochs("policy_loss", "pg_loss_stats"),
        "value loss, 4 epochs": of_epochs("value_loss", "vf_loss_stats"),
        "clipped share": of_epochs("clip_fraction", "pg_clipfrac_stats"),
        "clipped share of values": of_epochs("value_clip_fraction", "vf_clipfrac_stats"),
        "policy after 4 epochs": max(apart(value, name) for name, value in policy.items()),
        "critic after 4 epochs": max(apart(value, name) for name, value in critic.items()),
    }


def differences() -> dict[str, dict[str, float]]:
    """By family, the largest difference of each quantity."""
    told = params.load(PROJECT / "params.yaml", [f"{k}={v}" for k, v in OURS.items()]).ppo
    found = {}
    with tempfile.TemporaryDirectory() as root:
        cases = {family: case(family) for family in FAMILIES}
        folders = {family: Path(root) / family for family in FAMILIES}
        for family, given in cases.items():
            write(given, told, folders[family])
        trl("trl_step", folders.values())
        for family, given in cases.items():
            found[family] = compare(given, told, load_file(folders[family] / "trl.safetensors"))
    return found


def trl(program: str, folders: Iterable[Path]) -> None:
    """Runs a program of `benchmarks/peers` on the folders of all cases."""
    command: list[str | Path] = [PEERS, "-m", f"benchmarks.peers.{program}", *folders]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"TRL did not finish: {done.stderr[-2000:]}")


def table(found: dict[str, dict[str, float]]) -> str:
    """The differences as Markdown, a column a family."""
    lines = [f"| largest difference | {' | '.join(found)} |", "| --- |" + " --- |" * len(found)]
    for quantity in next(iter(found.values())):
        cells = [f"{by_quantity[quantity]:.1e}" for by_quantity in found.values()]
        lines.append(f"| {quantity} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(measure: Callable[[], dict[str, dict[str, float]]], about: str | None) -> None:
    """Prints the table of what `measure` finds; fails where a difference is over the tolerance."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="file to write the differences to")
    arguments = parser.parse_args()
    need_peers()
    torch.set_num_threads(1)
    quiet()
    found = measure()
    sys.stdout.write(f"{table(found)}\n\nTolerance: {TOLERANCE:.0e}\n")
    if arguments.json:
        content = {"differences": found, "tolerance": TOLERANCE}
        arguments.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    worse = [
        f"{family}: {quantity}"
        for family, by_quantity in found.items()
        for quantity, value in by_quantity.items()
        if not value <= TOLERANCE
    ]
    if worse:
        sys.exit(f"over tolerance: {', '.join(worse)}")


if __name__ == "__main__":
    main(differences, __doc__)
