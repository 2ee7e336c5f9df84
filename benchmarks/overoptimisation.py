"""Over-optimisation on the simulated team, where the truth is known, and the guard that stops it.

    python benchmarks/overoptimisation.py --seeds 101 102 103 --folder DIR

PPO with too low a price of KL: the reward rises while the truth falls. Two arms with the same
settings of PPO, one reward model and an ensemble with `reward.objective worst`, are trained to the
end and looked at every few steps, so that their curves show what a guard would have prevented.

The guard sees nothing of the truth. It stops an arm at the first look where

    KL from the reference is over the budget (`--budget`, as alarm `kl` with ppo.alarms.stop), or
    the held-out judge's mean score on training prompts has had no new best for `--patience` looks,

and keeps the policy of the judge's best look. In a round the judge has its say at the end alone.
Truth is the mean true utility of answers to evaluation prompts, on which nothing was trained or
chosen. Writes a table, `overoptimisation.json` and one plot a seed into the folder; what a seed has
made there before is not made again.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import jsonl, params
from roundhouse.journal import silent
from roundhouse.learn import (
    align,
    models,
    optimizers,
    ppo,
    reward,
    reward_model,
    sampling,
    sft,
    text,
)
from roundhouse.learn.models import Policy
from roundhouse.learn.reward_model import Scorer
from roundhouse.raters import stage as raters_stage
from roundhouse.settings import Settings
from roundhouse.simulate import truth
from roundhouse.simulate.archive import archive, prompts

#: Settings of both arms: little holds the policy near its reference.
LOOSE = ["ppo.kl_coef=0.002", "ppo.lr=0.001"]
#: The reward model of each arm.
ARMS = {
    "one": ["reward.members=1"],
    "ensemble": ["reward.members=4", "reward.objective=worst"],
}
#: Prompts of a look, for the guard and for the truth.
LOOKED_AT = 256


class Look(NamedTuple):
    """An arm at one step; means over the prompts of a look.

    Attributes:
        reward: what PPO is paid by, on training prompts.
        judge: the held-out judge's score, on training prompts.
        kl: nats an answer, of the last step of PPO.
        utility: the truth, on evaluation prompts.
        wins: true win rate over the supervised model, on evaluation prompts.
    """

    step: int
    reward: float
    judge: float
    kl: float
    utility: float
    wins: float


def prepare(settings: Settings, seed: int, folder: Path) -> None:
    """Archive, raters and supervised model of a seed."""
    if not (folder / "raters" / "pairs.jsonl").exists():
        jsonl.write(folder / "data" / "0001.jsonl", archive(settings, seed))
        jsonl.write(folder / "validate" / "excluded.jsonl", [])
        places = folder / "data", folder / "validate", folder / "raters"
        raters_stage.run(*places, settings.raters, settings.split, {"seed": seed})
    if not (folder / "sft" / "figures.json").exists():
        sft.run(folder / "raters", folder / "sft", settings, seed, silent)


def play(name: str, settings: Settings, seed: int, folder: Path, every: int) -> list[Look]:
    """Trains one arm to its end; returns its looks, the first before any training."""
    made = folder / f"{name}.json"
    if made.exists():
        return [Look(**look) for look in jsonl.read_json(made)["looks"]]
    rewards = folder / f"reward-{name}"
    if not (rewards / "figures.json").exists():
        reward.run(folder / "raters", folder / "sft", rewards, settings, seed, silent)
    optimizers.start(seed, settings.model.threads)
    policy = models.load(folder / "sft" / "model")
    scorers = {what: reward_model.load(rewards / what) for what in ("model", "judge")}
    asked = align.training_prompts(folder / "raters")
    task = ppo.Task(
        text.encode_prompts(policy.tokenizer, asked, settings.model.prompt_tokens),
        deepcopy(policy.model),
        scorers["model"].model,
        text.eos_id(policy.tokenizer),
        text.pad_id(policy.tokenizer),
        settings.model.response_tokens,
        seed,
        settings.ppo,
    )
    state, kl = ppo.begin(policy.model, task), 0.0
    eye = Eye(Policy(task.reference, policy.tokenizer), scorers, asked, settings, seed)
    looks = [eye.look(policy, 0, 0.0)]
    while state.step < settings.ppo.steps:
        kl = ppo.train_step(state, task)[0]["ppo/kl"]
        if state.step % every == 0:
            looks.append(eye.look(policy, state.step, kl))
            sys.stdout.write(f"{name} {looks[-1]}\n")
            sys.stdout.flush()
    jsonl.write_json(made, {"looks": [look._asdict() for look in looks]})
    return looks


class Eye:
    """Looks at policies, always with the same prompts and draws."""

    def __init__(
        self,
        supervised: Policy,
        scorers: dict[str, Scorer],
        training: Sequence[text.Messages],
        settings: Settings,
        seed: int,
    ) -> None:
        self._scorers, self._settings, self._seed = scorers, settings, seed
        self._training = list(training[:: max(1, len(training) // LOOKED_AT)])[:LOOKED_AT]
        self._held_out = prompts(settings, LOOKED_AT, seed, only="eval")
        self._before = self._said(supervised, self._chats())

    def look(self, policy: Policy, step: int, kl: float) -> Look:
        """What a policy is worth to the reward model, to the judge, and in truth."""
        said, answers = self._said(policy, self._training), self._said(policy, self._chats())
        worth = {
            what: statistics.fmean(reward_model.score(scorer, self._training, said))
            for what, scorer in self._scorers.items()
        }
        wins = truth.win_rate(self._held_out, answers, self._before, self._seed).value
        utility = truth.quality(self._held_out, answers).utility
        return Look(step, worth["model"], worth["judge"], kl, utility, wins)

    def _chats(self) -> list[text.Messages]:
        return [[{"role": "user", "content": said}] for said in self._held_out]

    def _said(self, policy: Policy, asked: Sequence[text.Messages]) -> list[str]:
        limits, temperature = self._settings.model, self._settings.ppo.temperature
        return [one.text for one in sampling.answer(policy, asked, limits, temperature, self._seed)]


class Outcome(NamedTuple):
    """An arm with its guard.

    Attributes:
        stop, kept: looks at which the guard stopped, and whose policy it kept.
        why: `kl`, `judge`, or `end` where nothing stopped it.
        peak, last: highest truth of the whole curve, and the truth at its end without a guard.
        stopped_in_time: the truth at the stop is less than 5 % under its peak.
        kept_well: so is that of the policy that was kept.
    """

    stop: Look
    kept: Look
    why: str
    peak: float
    last: float
    stopped_in_time: bool
    kept_well: bool


def guard(looks: Sequence[Look], budget: float, patience: int) -> Outcome:
    """Where the guard stops a curve."""
    best, why, stop = looks[0], "end", looks[-1]
    for place, look in enumerate(looks):
        if look.judge > best.judge:
            best = look
        late = place - looks.index(best) >= patience
        if look.kl > budget or late:
            stop, why = look, "kl" if look.kl > budget else "judge"
            break
    peak = max(look.utility for look in looks)
    in_time, well = (one.utility >= 0.95 * peak for one in (stop, best))
    return Outcome(stop, best, why, peak, looks[-1].utility, in_time, well)


def draw(seed: int, curves: dict[str, list[Look]], found: dict[str, Outcome], path: Path) -> None:
    """Reward, judge and truth over the steps, an arm a column; a line where the guard stopped."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the plot needs it

    figure = Figure(figsize=(5.2 * len(curves), 6.4), layout="constrained")
    panels = figure.subplots(2, len(curves), sharex=True, squeeze=False)
    for column, (name, looks) in enumerate(curves.items()):
        steps = [look.step for look in looks]
        upper, lower = panels[0][column], panels[1][column]
        upper.plot(steps, [look.reward for look in looks], label="reward model")
        upper.plot(steps, [look.judge for look in looks], label="held-out judge")
        upper.set(title=f"{name}, seed {seed}", ylabel="standardised score")
        lower.plot(steps, [look.utility for look in looks], color="C2", label="true utility")
        lower.axhline(0.95 * found[name].peak, color="0.6", linestyle=":", label="5 % under peak")
        lower.set(xlabel="step of PPO", ylabel="true utility (simulation)")
        for panel in (upper, lower):
            panel.axvline(found[name].stop.step, color="C3", linestyle="--", label="guard stops")
            panel.grid(alpha=0.25)
            panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Plays every seed and prints what the guard did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--steps", type=int, default=120, help="of PPO")
    parser.add_argument("--every", type=int, default=5, help="steps between two looks")
    parser.add_argument("--budget", type=float, default=8.0, help="KL in nats an answer")
    parser.add_argument("--patience", type=int, default=2, help="looks without a new best")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--folder", type=Path, required=True, help="keeps models and curves")
    options = parser.parse_args()
    record: dict[str, Any] = {"options": {k: str(v) for k, v in vars(options).items()}, "seeds": {}}
    for seed in options.seeds:
        folder = options.folder / str(seed)
        curves = {}
        for name, own in ARMS.items():
            changes = [f"seed={seed}", f"ppo.steps={options.steps}", *LOOSE, *own]
            settings = params.load(options.params, [*changes, *options.overrides])
            prepare(settings, seed, folder)
            curves[name] = play(name, settings, seed, folder, options.every)
        found = {name: guard(c, options.budget, options.patience) for name, c in curves.items()}
        draw(seed, curves, found, folder / "overoptimisation.png")
        record["seeds"][seed] = {
            name: {"curve": [look._asdict() for look in curves[name]], **_plain(outcome)}
            for name, outcome in found.items()
        }
        for name, outcome in found.items():
            sys.stdout.write(_line(seed, name, outcome) + "\n")
    for name in ARMS:
        every = [part[name] for part in record["seeds"].values()]
        for what in ("stopped_in_time", "kept_well"):
            count = sum(part[what] for part in every)
            sys.stdout.write(f"{name}: {what} in {count} of {len(every)} seeds\n")
    (options.folder / "overoptimisation.json").write_text(json.dumps(record, indent=2) + "\n")


def _line(seed: int, name: str, found: Outcome) -> str:
    return (
        f"seed {seed} {name:9} truth: peak {found.peak:.2f}, unguarded end {found.last:.2f}; "
        f"stopped by {found.why} at step {found.stop.step}: {found.stop.utility:.2f}, "
        f"kept step {found.kept.step}: {found.kept.utility:.2f}"
    )


def _plain(found: Outcome) -> dict[str, Any]:
    return {
        **found._asdict(),
        "stop": found.stop._asdict(),
        "kept": found.kept._asdict(),
    }


if __name__ == "__main__":
    main()
