"""Alarms of PPO: signs in a step's figures that training has gone, or is going, wrong.

An alarm is a figure of each step and a warning on the round's table. One that `ppo.alarms.stop`
names ends training at its step, before that step's state can become a checkpoint.
"""

from collections.abc import Mapping
from typing import get_args

from roundhouse.errors import AlarmError
from roundhouse.settings import Alarm, AlarmSettings

#: All there are, in the order in which they are looked at.
NAMES: tuple[Alarm, ...] = get_args(Alarm)


def raised(
    step: int, metrics: Mapping[str, float], length: float, limits: AlarmSettings
) -> dict[Alarm, str]:
    """The alarms that the metrics of a step raise, each with what is wrong.

    Args:
        step: counted from 1.
        metrics: of `ppo.train_step`.
        length: mean tokens of an answer in the first step.
        limits: where each alarm begins.
    """
    ratio, kl, ends = metrics["ppo/ratio"], metrics["ppo/kl"], metrics["ppo/eos_rate"]
    growth = metrics["ppo/length"] / max(length, 1.0)
    # Without a critic there is none.
    explained = metrics.get("ppo/explained_variance", 1.0)
    early = step <= limits.explained_variance_after
    wrong = {
        "ratio": not limits.min_ratio <= ratio <= limits.max_ratio
        and f"mean ratio {ratio:.3g}, outside {limits.min_ratio:g} to {limits.max_ratio:g}",
        "kl": kl > limits.max_kl and f"KL {kl:.3g} nats an answer, over {limits.max_kl:g}",
        "eos": ends < limits.min_eos_rate
        and f"{ends:.3g} of the answers end, under {limits.min_eos_rate:g}",
        "length": growth > limits.max_length_ratio
        and f"answers {growth:.3g} times as long as at first, over {limits.max_length_ratio:g}",
        "explained_variance": explained < limits.min_explained_variance
        and not early
        and f"explained variance {explained:.3g}, under {limits.min_explained_variance:g}",
    }
    return {name: said for name in NAMES if (said := wrong[name])}


class Watch:
    """What the alarms of a whole training remember.

    Attributes:
        length: mean tokens of an answer in the first step; 0 before it.
        steps: by alarm, how many steps raised it.
    """

    def __init__(self, limits: AlarmSettings) -> None:
        self._limits = limits
        self._raised: dict[Alarm, str] = {}
        self.length = 0.0
        self.steps = dict.fromkeys(NAMES, 0)

    def look(self, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Takes in a step; returns 1 for each alarm that it raised and 0 for each other."""
        self.length = self.length or metrics["ppo/length"]
        self._raised = raised(step, metrics, self.length, self._limits)
        for name in self._raised:
            self.steps[name] += 1
        return {f"ppo/alarms/{name}": float(name in self._raised) for name in NAMES}

    def stop(self, step: int) -> None:
        """Ends training where the step just seen raised an alarm that is set to stop it.

        Raises:
            AlarmError: with the step and what is wrong.
        """
        for name, wrong in self._raised.items():
            if name in self._limits.stop:
                raise AlarmError(
                    f"ppo: alarm {name} at step {step}: {wrong}; lower ppo.lr, raise ppo.kl_coef, "
                    "or move the limit in ppo.alarms"
                )

    def figures(self) -> dict[str, float]:
        """How many steps raised each alarm."""
        return {f"ppo/alarms/{name}": float(count) for name, count in self.steps.items()}

    def state_dict(self) -> dict[str, object]:
        """What `look` changes."""
        return {"length": self.length, "steps": dict(self.steps)}

    def load_state_dict(self, saved: Mapping[str, object]) -> None:
        """Takes back what `state_dict` gave."""
        self.__dict__.update(saved)
