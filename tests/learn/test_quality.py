"""The reward model as TRL reads it in `benchmarks/quality.py`: one judge pays both sides."""

from pathlib import Path

import pytest
import torch

from benchmarks.peers.judge import Judge, critic
from roundhouse.learn import reward_model, text
from roundhouse.learn.models import Policy
from roundhouse.learn.reward_model import Pooling, Scorer
from roundhouse.learn.text import Batch


def saved(policy: Policy, pooling: Pooling, folder: Path) -> Scorer:
    torch.manual_seed(5)
    scorer = Scorer(reward_model.from_policy(policy, pooling), policy.tokenizer, 20, 12)
    scorer.model.mean, scorer.model.std = 0.7, 0.2
    reward_model.save(scorer, folder)
    return scorer


def told(batch: Batch) -> dict[str, object]:
    """How TRL calls a trunk: `get_reward` of trl.experimental.utils."""
    return {
        "input_ids": batch.tokens.masked_fill(batch.mask == 0, 0),
        "attention_mask": batch.mask,
        "position_ids": batch.mask.cumsum(dim=1) - batch.mask,
        "return_dict": True,
        "output_hidden_states": True,
        "use_cache": False,
    }


BATCH = text.collate([[5, 6], [5, 7, 9, 8]], [[9, 8, 10, 2], [11, 2]], 0)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@torch.no_grad()
def test_trl_reads_the_scores_of_the_reward_model(
    policy: Policy, pooling: Pooling, tmp_path: Path
) -> None:
    scorer = saved(policy, pooling, tmp_path)
    judge = Judge(tmp_path, lambda: BATCH.prompt_width)
    states = getattr(judge, judge.base_model_prefix)(**told(BATCH)).hidden_states[-1]
    ends = BATCH.prompt_width + BATCH.lengths - 1
    read = judge.score(states)[torch.arange(2), ends, 0]
    torch.testing.assert_close(read, scorer.model(BATCH), atol=1e-5, rtol=0)


@torch.no_grad()
def test_trls_critic_starts_with_the_values_of_ours(policy: Policy, tmp_path: Path) -> None:
    scorer = saved(policy, "mean", tmp_path)
    model = critic(tmp_path)
    states = getattr(model, model.base_model_prefix)(**told(BATCH)).hidden_states[-1]
    values = model.score(states)[:, BATCH.prompt_width - 1 : -1, 0]
    ours = scorer.model.critic().values(BATCH)
    torch.testing.assert_close(
        values[BATCH.action_mask], ours[BATCH.action_mask], atol=1e-5, rtol=0
    )
