"""Several seeds of PPO: which pass, which is taken, and that one seed is what it always was."""

import copy
from collections.abc import Callable, Mapping

import pytest
import torch
from transformers import PreTrainedModel

from roundhouse.errors import DivergenceError
from roundhouse.learn import align, seeds
from roundhouse.learn.models import Policy
from roundhouse.learn.ppo_state import Task
from roundhouse.learn.seeds import Probe
from roundhouse.settings import Settings
from tests.learn.conftest import tokens_of_passes
from tests.learn.test_ppo import counts, task

SUPERVISED = Probe(objective=0.1, kl=0.0, eos_rate=0.9, length=20.0, distinct=100.0)
SOUND = Probe(objective=0.9, kl=3.0, eos_rate=0.95, length=22.0, distinct=90.0)
#: Leaves the objective alone to tell a collapse.
LENIENT = {
    "ppo.seeds": 3,
    "ppo.kl_coef": 3.0,
    "ppo.min_distinct_ratio": 0.0,
    "ppo.alarms.min_eos_rate": 0.0,
    "ppo.alarms.max_kl": 1000.0,
    "ppo.alarms.max_length_ratio": 100.0,
}


def copies(given: Task) -> Callable[[int], PreTrainedModel]:
    """What every seed starts from."""
    return lambda _: copy.deepcopy(given.reference)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, ()),
        ({"objective": 0.0999}, ("objective",)),
        ({"objective": 0.1}, ()),
        ({"kl": 20.1}, ("kl",)),
        ({"eos_rate": 0.79}, ("eos",)),
        ({"length": 30.1}, ("length",)),
        ({"distinct": 49.0}, ("distinct",)),
        ({"objective": -3.0, "eos_rate": 0.0}, ("objective", "eos")),
    ],
)
def test_each_sign_of_collapse_is_a_fault(
    tiny: Callable[..., Settings], change: dict[str, float], found: tuple[str, ...]
) -> None:
    assert seeds.faults(SOUND._replace(**change), SUPERVISED, tiny().ppo) == found


def noisy(model: PreTrainedModel, scale: float) -> PreTrainedModel:
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for weight in twin.parameters():
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
            weight.add_(scale * noise)
    return twin


def trained(given: Task, *scales: float | None) -> seeds.Train:
    """Seeds whose policies are that far from the reference; None diverges."""

    def train(seed: int) -> tuple[PreTrainedModel, dict[str, float]]:
        scale = scales[seed - given.seed]
        if scale is None:
            raise DivergenceError("ppo: scores became nan at step 1")
        return noisy(given.reference, scale), {"ppo/kl": scale}

    return train


def test_the_best_that_passes_is_taken_and_each_seed_is_on_record(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny(**LENIENT), counts(policy))
    model, figures = seeds.best(trained(given, 0.3, 0.0, None), given)
    for mine, wanted in zip(model.parameters(), given.reference.parameters(), strict=True):
        assert torch.equal(mine, wanted)
    assert figures["ppo/kl"] == 0.0
    assert (figures["ppo/seeds"], figures["ppo/seeds_passed"]) == (3, 1)
    assert figures["ppo/seed_taken"] == 2
    assert [figures[f"ppo/seed/{place}/passed"] for place in (1, 2, 3)] == [0, 1, 0]
    assert figures["ppo/seed/1/fault/objective"] == figures["ppo/seed/3/fault/stopped"] == 1
    assert figures["ppo/seed/1/kl"] > 1 and "ppo/seed/3/kl" not in figures
    # The same answers to the same prompts: the copy is as good as the reference, to the last bit.
    assert figures["ppo/seed/2/objective"] == figures["ppo/sft_objective"]


def test_where_every_seed_collapsed_the_best_of_them_says_so(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny(**LENIENT), counts(policy))
    _, figures = seeds.best(trained(given, 0.5, 0.3, None), given)
    assert figures["ppo/seeds_passed"] == 0
    worst, better = (figures[f"ppo/seed/{place}/objective"] for place in (1, 2))
    assert (worst < better) == (figures["ppo/seed_taken"] == 2)


def test_where_every_seed_was_stopped_so_is_the_stage(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny(**LENIENT), counts(policy))
    with pytest.raises(DivergenceError, match="scores became nan"):
        seeds.best(trained(given, None, None, None), given)


def test_the_probe_is_blind_to_what_it_is_not_about(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny(**LENIENT), counts(policy))
    found = seeds.probe(given.reference, given)
    torch.rand(7)
    assert seeds.probe(copy.deepcopy(given.reference), given) == found
    assert found.kl == pytest.approx(0, abs=1e-4)
    assert 0 <= found.eos_rate <= 1 and 1 <= found.length <= given.limit


def test_the_probe_judges_in_micro_batches_and_draws_as_ever(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny(**LENIENT))
    found = seeds.probe(given.reference, given)
    # Of one model the policy's passes are the sampler's: those of the reference are judged.
    twin, seen = copy.deepcopy(given.reference), tokens_of_passes(given.reference)
    assert seeds.probe(twin, given._replace(micro_batch=2)) == pytest.approx(found, abs=1e-4)
    assert len(seen) == 3
    assert max(seen) <= 2 * (max(map(len, given.prompts)) + given.limit)


def test_the_first_of_several_seeds_is_the_only_one_there_was(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    lines: dict[int, list[tuple[int, int, float]]] = {1: [], 2: []}
    for count, seen in lines.items():

        def log(
            step: int,
            total: int,
            metrics: Mapping[str, float],
            seen: list[tuple[int, int, float]] = seen,
        ) -> None:
            seen.append((step, total, metrics["ppo/policy_loss"]))

        learner = Policy(copy.deepcopy(policy.model), policy.tokenizer)
        torch.manual_seed(4)
        given = task(learner, tiny(**{"ppo.seeds": count}), counts(learner))
        align.train_seeds(copies(given), given, log)
    assert [(step, total) for step, total, _ in lines[2]] == [(n, 4) for n in (1, 2, 3, 4)]
    losses = {count: [loss for *_, loss in seen] for count, seen in lines.items()}
    assert losses[2][:2] == losses[1]
    assert losses[2][2:] != losses[1]
