"""Sampling: the same distribution as training, whatever the batch."""

import math
from collections import Counter

import pytest
import torch

from roundhouse.learn import models, sampling, text
from roundhouse.learn.models import Policy
from roundhouse.learn.sampling import Answers
from roundhouse.learn.text import Messages
from roundhouse.settings import ModelSettings, ScratchModel

#: Prompts of different lengths, so that some rows are padded.
PROMPTS = [[5, 7], [5, 8, 9, 10, 7], [5, 11, 7], [9]]
EOS, PAD = 2, 0


def draw(policy: Policy, prompts: list[list[int]], temperature: float, seed: int = 0) -> Answers:
    return sampling.sample(
        policy.model,
        prompts,
        limit=12,
        temperature=temperature,
        eos=EOS,
        pad=PAD,
        generator=torch.Generator().manual_seed(seed),
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_the_training_forward(policy: Policy, temperature: float) -> None:
    prompts = PROMPTS * 8
    answers = draw(policy, prompts, temperature)
    assert answers.ended.any()
    assert not answers.ended.all()
    batch = text.collate(prompts, answers.as_lists(), PAD)
    with torch.no_grad():
        trained = models.response_logprobs(policy.model, batch, temperature)
    width = trained.shape[1]
    counted = batch.action_mask
    torch.testing.assert_close(
        answers.logprobs[:, :width][counted], trained[counted], atol=1e-5, rtol=1e-5
    )


def test_answers_end_at_their_first_eos_and_hold_nothing_after(policy: Policy) -> None:
    answers = draw(policy, PROMPTS * 16, 1.5)
    for row, length, ended in zip(
        answers.tokens.tolist(), answers.lengths.tolist(), answers.ended.tolist(), strict=True
    ):
        assert (EOS in row[:length]) == ended
        assert EOS not in row[: length - 1]
        assert set(row[length:]) <= {PAD}
        assert ended or length == 12
    after = torch.arange(12) >= answers.lengths[:, None]
    assert not answers.logprobs[after].any()
    assert not answers.entropy[after].any()


def test_greedy_answers_do_not_depend_on_the_batch(policy: Policy) -> None:
    together = draw(policy, PROMPTS * 3, 0.0).as_lists()
    alone = [draw(policy, [prompt], 0.0).as_lists()[0] for prompt in PROMPTS]
    assert together == alone * 3


def test_greedy_takes_the_likeliest_token(policy: Policy) -> None:
    answers = draw(policy, PROMPTS, 0.0)
    batch = text.collate(PROMPTS, answers.as_lists(), PAD)
    with torch.no_grad():
        best = models.padded_logits(policy.model, batch).argmax(dim=-1)
    assert torch.equal(best[batch.action_mask], batch.responses[batch.action_mask])


def test_the_seed_decides(policy: Policy) -> None:
    first, again = draw(policy, PROMPTS * 4, 1.0, 5), draw(policy, PROMPTS * 4, 1.0, 5)
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.logprobs, again.logprobs)
    assert not torch.equal(first.tokens, draw(policy, PROMPTS * 4, 1.0, 6).tokens)


def test_first_tokens_come_as_often_as_the_model_says(policy: Policy) -> None:
    count = 4000
    with torch.no_grad():
        answers = sampling.sample(
            policy.model,
            [[5, 7]] * count,
            limit=1,
            temperature=0.8,
            eos=EOS,
            pad=PAD,
            generator=torch.Generator().manual_seed(1),
        )
        batch = text.collate([[5, 7]], [[0]], PAD)
        expected = (models.padded_logits(policy.model, batch)[0, 0] / 0.8).softmax(dim=-1)
    seen = Counter(answers.tokens[:, 0].tolist())
    for token, chance in enumerate(expected.tolist()):
        spread = math.sqrt(count * chance * (1 - chance))
        assert abs(seen[token] - count * chance) < 5 * spread + 1
    entropy = -(expected * expected.log()).sum().item()
    assert answers.entropy.mean().item() == pytest.approx(entropy, rel=1e-4)


def test_answers_as_text_come_in_the_order_of_their_prompts(policy: Policy) -> None:
    chats: list[Messages] = [
        [{"role": "user", "content": said}] for said in ("why?", "the cat sat on a mat?", "no.")
    ]
    limits = _limits()
    together = sampling.answer(policy, chats, limits, 0.0, seed=0)
    parts = [sampling.answer(policy, [chat], limits, 0.0, seed=0)[0] for chat in chats]
    assert together == parts == sampling.answer(policy, chats, limits, 0.0, seed=1, batch=2)
    for found in together:
        assert found.ended == (found.tokens[-1] == EOS)
        assert "<" not in found.text.replace("<unk>", "")


def _limits() -> ModelSettings:
    shape = ScratchModel(hidden_size=8, layers=1, heads=1, feed_forward=12)
    return ModelSettings(
        base="scratch",
        revision=None,
        scratch=shape,
        prompt_tokens=12,
        response_tokens=10,
    )
