"""A critic without a trunk of its own: a linear head on the states that the policy has anyway.

One forward and one backward pass then serve both losses, and one model less is held and trained
(Ziegler et al. 2019, section 2.2, "Fine-tuning language models from human preferences": policy and
value function share their trunk). What it costs: the value loss pulls at the policy too, and the
head starts from nothing, where a critic apart starts as the reward model.
"""

from torch import Tensor, nn
from transformers import PreTrainedModel

from roundhouse.learn import models
from roundhouse.learn.text import Batch


class ValueHead(nn.Module):
    """Width H to one number, read from the policy's last states; it starts as 0 everywhere.

    Attributes:
        head: its only weights; the policy's are not part of this module.
    """

    def __init__(self, policy: PreTrainedModel) -> None:
        super().__init__()
        self.head = nn.Linear(int(policy.config.hidden_size), 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.to(policy.device)
        # In a tuple, so that torch does not count its weights among these.
        self._policy = (policy,)

    def values(self, batch: Batch) -> Tensor:
        """The head read before each response token [B, R]; behind the value mask, anything."""
        return self._read(models.response_states(self._policy[0], batch))

    def both(self, batch: Batch, temperature: float) -> tuple[Tensor, Tensor]:
        """`models.response_logprobs` of the policy and `values`, [B, R] each, from one pass."""
        with models.states_kept(self._policy[0]) as kept:
            logprobs = models.response_logprobs(self._policy[0], batch, temperature)
        return logprobs, self._read(models.placed(self._policy[0], batch, kept[-1]))

    def _read(self, states: Tensor) -> Tensor:
        found: Tensor = self.head(states.float())[..., 0]
        return found
