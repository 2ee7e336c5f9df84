"""What PPO's training changes, and what it only reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from roundhouse.learn import checkpoint, optimizers, parallel, rl
from roundhouse.learn.alarms import Watch
from roundhouse.learn.reward_model import RewardModel
from roundhouse.learn.value_head import ValueHead
from roundhouse.settings import PpoSettings


@dataclass
class State:
    """Everything that training changes; a checkpoint is this object.

    Attributes:
        identity: of the training, for its checkpoints.
        policy, critic: what learns; the critic is a model, or a head on the policy's trunk, and
            REINFORCE leave-one-out has none.
        optimizer: Adam over both, one parameter group each.
        generator: draws the answers and the minibatches.
        kl: the controller of the price of KL.
        alarms: what they saw so far.
        step: batches of episodes done so far.
        history: metrics of each of them.
    """

    identity: str
    policy: PreTrainedModel
    critic: RewardModel | ValueHead | None
    optimizer: optimizers.Optimizers
    generator: torch.Generator
    kl: rl.KlController
    alarms: Watch
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "step": self.step,
            "history": self.history,
            "policy": checkpoint.weights(self.policy),
            "critic": checkpoint.weights(self.critic) if self.critic else {},
            "optimizer": self.optimizer.state_dict(),
            "generators": parallel.rows(self.generator.get_state()[None]),
            "kl_coef": self.kl.coef,
            "alarms": self.alarms.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.step, self.history = saved["step"], saved["history"]
        checkpoint.put_weights(self.policy, saved["policy"])
        if self.critic:
            checkpoint.put_weights(self.critic, saved["critic"])
        self.optimizer.load_state_dict(saved["optimizer"])
        # A tensor of its own: a generator reads from the beginning of the memory behind one.
        self.generator.set_state(saved["generators"][parallel.place()].clone())
        self.kl.coef = saved["kl_coef"]
        self.alarms.load_state_dict(saved["alarms"])


class Task(NamedTuple):
    """What training reads and never changes.

    Attributes:
        prompts: as tokens.
        reference: the supervised model.
        reward: the reward model.
        eos, pad: token ids.
        limit: longest response, in tokens.
        seed: decides the order of prompts.
        settings: of PPO.
        micro_batch: answers that go through a model at a time; 0: a whole minibatch.
        shard: whether processes divide the weights of policy and critic.
    """

    prompts: list[list[int]]
    reference: PreTrainedModel
    reward: RewardModel
    eos: int
    pad: int
    limit: int
    seed: int
    settings: PpoSettings
    micro_batch: int = 0
    shard: bool = False
