"""The loop that sft, reward and DPO share: batches in a fixed order, an update for each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from roundhouse.journal import Log
from roundhouse.learn import checkpoint, optimizers, parallel
from roundhouse.learn.checkpoint import Checkpoints
from roundhouse.learn.optimizers import Optimizers

#: Journal lines a training, at most: one optimizer step is too little to say anything.
_REPORTS = 100


class State:
    """Everything that training changes.

    Attributes:
        model: learns.
        optimizer: of its parameters.
        step: updates done so far.
        losses: of each of them.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizers) -> None:
        self.model, self.optimizer = model, optimizer
        self.step = 0
        self.losses: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "step": self.step,
            "losses": self.losses,
            "model": checkpoint.weights(self.model),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.step, self.losses = saved["step"], saved["losses"]
        checkpoint.put_weights(self.model, saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])


def train(
    stage: str,
    state: State,
    batches: Sequence[list[int]],
    loss_of: Callable[[list[int], list[int]], Tensor],
    micro_batch: int,
    log: Log,
    checkpoints: Checkpoints,
    identity: str,
) -> list[float]:
    """Trains in place, from where the newest checkpoint stands; returns the loss of every step.

    Args:
        stage: its name (of DPO `dpo`), for figures and errors.
        state: before the first step.
        batches: rows of each step.
        loss_of: what some rows of a batch add to the whole batch's loss (a scalar with gradient).
        micro_batch: rows at a time; 0: all of a batch.
        log: is told the mean loss since the last report.
        checkpoints: of this training.
        identity: what it is made of.

    Raises:
        DivergenceError: the loss became NaN or infinite.
    """
    total = len(batches)
    checkpoints.resume(state, total, identity)
    every = max(1, total // _REPORTS)
    while state.step < total:
        batch, sum_of_parts = batches[state.step], 0.0
        for part, own in parallel.parts(batch, micro_batch):
            loss = own * loss_of(part, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            sum_of_parts += loss.item()
        parallel.sum_gradients(state.model)
        state.losses.append(parallel.totals({"loss": sum_of_parts})["loss"])
        state.step += 1
        optimizers.check_finite(stage, state.step, loss=state.losses[-1])
        optimizers.clip(state.model, 1.0)
        state.optimizer.step()
        if state.step % every == 0 or state.step == total:
            window = state.losses[-every:]
            log(state.step, total, {f"{stage}/loss": sum(window) / len(window)})
        checkpoints.save(state, total)
    return state.losses
