"""DPO: its loss by hand, what it does to a policy, and that it does so the same way twice."""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from roundhouse import jsonl
from roundhouse.errors import DataError, DivergenceError, SettingsError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import align, dpo, memory, models, reward_model, rl, text
from roundhouse.learn.models import Policy
from roundhouse.learn.preferences import Pair
from roundhouse.learn.reward_model import Scorer
from roundhouse.settings import Settings
from tests.learn.conftest import asks, tokens_of_passes

PROMPTS = asks("why the cat?", "why a dog ran on the mat?", "the mat?")
ANSWERS = ("yes.", "no, the dog ran.", "a cat sat on a mat.", "the mat, yes.")


def pair(p: float, prompt: int = 0, a: int = 0, b: int = 1, weight: float = 1.0) -> Pair:
    return Pair(PROMPTS[prompt], ANSWERS[a], ANSWERS[b], p, weight, 3, "x", 1)


PAIRS = [pair(0.9), pair(0.2, 1, 2, 3), pair(1.0, 2, 1, 3), pair(0.7, 1, 0, 2), pair(0.5, 2, 0, 1)]


def margins_of(policy: Policy, before: Policy, pairs: Sequence[Pair], settings: Settings) -> Tensor:
    """[n] implicit rewards of a less those of b, against a policy of before."""
    now, then = (dpo.measured(one, dpo.encode(one, pairs, settings), 4) for one in (policy, before))
    return dpo.margins(now, then, settings.dpo.beta)


def twin(policy: Policy) -> Policy:
    return Policy(copy.deepcopy(policy.model), policy.tokenizer)


def test_the_loss_by_hand() -> None:
    now = torch.tensor([[-1.0, -2.0], [-5.0, -3.0], [-4.0, -4.5]])
    before = torch.tensor([[-2.0, -2.5], [-4.5, -3.5], [-4.0, -4.0]])
    p, weights, beta = [1.0, 0.25, 0.5], [1.0, 2.0, 0.5], 0.3
    total = 0.0
    for row in range(3):
        ratio = [(now[row, side] - before[row, side]).item() for side in (0, 1)]
        wins = 1 / (1 + math.exp(-beta * (ratio[0] - ratio[1])))
        total += weights[row] * -(p[row] * math.log(wins) + (1 - p[row]) * math.log(1 - wins))
    found = dpo.loss(now, before, torch.tensor(p), torch.tensor(weights), beta)
    assert found.item() == pytest.approx(total / sum(weights), rel=1e-6)


def test_a_log_probability_is_that_of_the_answer_and_its_end_whatever_stands_beside_it(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    data = dpo.encode(policy, PAIRS, tiny())
    with torch.no_grad():
        together = dpo.logprobs(policy, data, range(len(PAIRS)))
        for row, prompt in enumerate(data.prompts):
            for side, answer in enumerate(data.answers[row]):
                batch = text.collate([prompt], [answer], 0)
                logits = models.padded_logits(policy.model, batch)
                alone = rl.logprobs(logits, batch.responses, 1.0)
                assert alone.shape == (1, len(answer))
                assert together[row, side].item() == pytest.approx(alone.sum().item(), abs=1e-4)
    assert torch.allclose(dpo.measured(policy, data, 2), together, atol=1e-4)
    # A short answer has an end, one at the limit has none.
    assert data.answers[0][0][-1] == 2 and len(data.answers[1][0]) == 8


def test_the_first_loss_is_that_of_a_coin_and_the_reference_stays_where_it_was(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    steps: list[float] = []
    settings = tiny(**{"dpo.epochs": 20, "dpo.batch": 5, "dpo.lr": 0.01, "dpo.beta": 1.0})
    dpo.train(policy, PAIRS, [], settings, 3, lambda _, __, m: steps.append(m["dpo/loss"]))
    assert len(steps) == 20
    assert steps[0] == pytest.approx(math.log(2), abs=1e-5)
    # Against a reference that went along every loss would be that one.
    assert steps[-1] < steps[0] - 0.05


def test_what_raters_chose_becomes_likelier_and_a_tie_draws_both_answers_together(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    settings = tiny(**{"dpo.epochs": 15, "dpo.lr": 0.005})
    before = twin(policy)
    dpo.train(policy, [pair(1.0), pair(0.0, 1, 2, 3)], [], settings, 3, silent)
    won = margins_of(policy, before, [pair(1.0), pair(0.0, 1, 2, 3)], settings)
    assert won[0] > 0 > won[1]
    # The loss of a tie is least at a margin of 0, on whichever side the policy stands.
    data = dpo.encode(policy, [pair(0.5), pair(0.5, 1, 2, 3)], settings)
    p, ones = torch.tensor([0.5, 0.5]), torch.ones(2)
    now = dpo.logprobs(policy, data, [0, 1])
    now.retain_grad()
    dpo.loss(now, dpo.measured(before, data, 2), p, ones, 0.1).backward()  # type: ignore[no-untyped-call]
    assert now.grad is not None
    assert now.grad[0, 0] > 0 > now.grad[1, 0]
    assert torch.allclose(now.grad.sum(dim=1), torch.zeros(2), atol=1e-7)


def test_a_pair_without_weight_teaches_nothing(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    ends = []
    for silenced in (pair(1.0, 2, weight=0.0), pair(0.0, 2, weight=0.0)):
        learner, settings = twin(policy), tiny(**{"dpo.epochs": 3})
        dpo.train(learner, [pair(0.9), silenced], [], settings, 3, silent)
        ends.append(learner.model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_figures_of_held_out_pairs(policy: Policy, tiny: Callable[..., Settings]) -> None:
    settings = tiny(**{"dpo.epochs": 15, "dpo.lr": 0.005})
    unseen = [pair(0.8), pair(0.5, 1, 2, 3), pair(0.9, 2, 1, 3)]
    figures = dpo.train(policy, PAIRS, unseen, settings, 3, silent)
    assert figures["dpo/pairs"] == 5
    assert figures["dpo/accuracy_low"] <= figures["dpo/accuracy"] == 1.0
    assert figures["dpo/margin"] > 0
    assert figures["dpo/heldout_loss"] < math.log(2)
    found = dpo.agreement(unseen, torch.tensor([2.0, 9.0, -1.0]).double().numpy(), settings, 3)
    assert (found["dpo/accuracy"], found["dpo/margin"]) == (0.5, 0.5)
    assert dpo.agreement(unseen[1:2], torch.zeros(1).double().numpy(), settings, 3) == {}


def test_no_pass_holds_more_than_the_plan_counts(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    settings = tiny(**{"dpo.batch": 4, "compute.micro_batch": 1})
    load = memory.load(settings, settings.dpo.batch, each=2)
    whole = dpo.train(twin(policy), PAIRS, PAIRS, tiny(**{"dpo.batch": 4}), 3, silent)
    seen = tokens_of_passes(policy.model)
    figures = dpo.train(policy, PAIRS, PAIRS, settings, 3, silent)
    assert 0 < max(seen) <= load.rows * (load.prompt + load.response)
    assert figures == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("micro_batch", [0, 100])
def test_a_micro_batch_of_more_than_a_batch_changes_nothing(
    policy: Policy, tiny: Callable[..., Settings], micro_batch: int
) -> None:
    settings = tiny(**{"dpo.batch": 2, "compute.micro_batch": micro_batch})
    seen = tokens_of_passes(policy.model)
    dpo.train(policy, PAIRS, PAIRS, settings, 3, silent)
    # Asked of all pairs twice, of the held-out ones once more, and trained on once.
    assert len(seen) == 4 * 3
    assert max(seen) <= 2 * 2 * (settings.model.prompt_tokens + settings.model.response_tokens)


def test_a_loss_that_is_not_finite_stops_and_says_what_to_lower(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    settings = tiny(**{"dpo.epochs": 9, "dpo.lr": "1.0e+30"})
    with pytest.raises(DivergenceError, match=r"dpo: loss became nan at step \d+; lower dpo.lr"):
        dpo.train(policy, PAIRS, [], settings, 3, silent)


def test_several_seeds_are_of_ppo_alone(tiny: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"ppo.seeds 2 chooses among trainings of PPO"):
        tiny(**{"align.method": "dpo", "ppo.seeds": 2})
    with pytest.raises(SettingsError, match=r"align.method"):
        tiny(**{"align.method": "kto"})


def prepare(folder: Path, policy: Policy, members: int = 1, side: str = "train") -> None:
    """What the stage reads: two pairs of the training side, one of each other."""
    models.save(policy, folder / "sft" / "model")
    torch.manual_seed(4)
    scorer = Scorer(reward_model.from_policy(policy, "mean", members), policy.tokenizer, 12, 8)
    reward_model.save(scorer, folder / "reward" / "model")
    rows = [
        pair(p, prompt)._asdict() | {"side": place}
        for p, prompt, place in (
            (0.9, 0, side),
            (0.3, 1, side),
            (1.0, 2, "eval"),
            (0.0, 2, "judge"),
        )
    ]
    jsonl.write(folder / "pairs.jsonl", rows)
    rows = [{"prompt": PROMPTS[0], "side": "train"}]
    jsonl.write(folder / "demonstrations.jsonl", rows)


def test_the_stage_writes_its_files_and_the_same_bytes_twice(
    tmp_path: Path, policy: Policy, tiny: Callable[..., Settings]
) -> None:
    prepare(tmp_path, policy, members=2)
    for name in ("one", "two"):
        folders = tmp_path, tmp_path / "sft", tmp_path / "reward", tmp_path / name
        align.run(*folders, tiny(**{"align.method": "dpo"}), 3, silent)
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")
    written = {path.name for path in (tmp_path / "one").iterdir()}
    assert written == {"model", "figures.json", "samples.jsonl", "uncertain.jsonl"}
    figures = jsonl.read_json(tmp_path / "one" / "figures.json")
    assert figures["dpo/pairs"] == 2
    assert {"dpo/loss", "dpo/heldout_loss", "dpo/accuracy", "dpo/margin"} <= set(figures)
    assert not any(name.startswith("ppo/") for name in figures)
    moved = models.load(tmp_path / "one" / "model").model.state_dict()
    assert any(not torch.equal(moved[name], old) for name, old in policy.model.state_dict().items())


def test_the_newest_pairs_teach_where_there_is_a_most(
    tmp_path: Path, policy: Policy, tiny: Callable[..., Settings]
) -> None:
    prepare(tmp_path, policy)
    folders = tmp_path, tmp_path / "sft", tmp_path / "reward", tmp_path / "out"
    align.run(*folders, tiny(**{"align.method": "dpo", "reward.max_pairs": 1}), 3, silent)
    assert jsonl.read_json(tmp_path / "out" / "figures.json")["dpo/pairs"] == 1


def test_without_training_pairs_the_stage_says_so(
    tmp_path: Path, policy: Policy, tiny: Callable[..., Settings]
) -> None:
    prepare(tmp_path, policy, side="eval")
    folders = tmp_path, tmp_path / "sft", tmp_path / "reward", tmp_path / "out"
    with pytest.raises(DataError, match="no pairs on the side train"):
        align.run(*folders, tiny(**{"align.method": "dpo"}), 3, silent)
