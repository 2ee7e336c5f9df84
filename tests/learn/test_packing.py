"""A line of tokens says what a padded batch says, with the same gradients."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from roundhouse.learn import models, packing, text
from roundhouse.learn.text import Batch

DEEP: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 40,
}  # fmt: skip
FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**DEEP, intermediate_size=48, tie_word_embeddings=True),
    "gpt2": lambda: GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=40, n_positions=64),
    "qwen2": lambda: Qwen2Config(**DEEP, intermediate_size=48, num_key_value_heads=2),
    "gpt_neox": lambda: GPTNeoXConfig(**DEEP, intermediate_size=48),
}
#: Rows 0 and 1, and 3 to 5, have the same prompt; lengths are mixed, so that there are groups.
PROMPTS = [[5, 7], [5, 7], [5, 8, 9, 10, 7], *[[9, 11, 6]] * 3, [9], [5, 12, 13, 7, 8, 9, 30]]
ANSWERS = [[8, 2], [9, 9, 2], [10], [4, 5, 6, 7, 8, 9, 2], [3, 2], [3, 3, 3], [2], [*range(3, 23)]]


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A random model of each family."""
    torch.manual_seed(0)
    made = fresh(FAMILIES[request.param]())
    for weight in made.parameters():
        # The usual small start makes every distribution flat.
        torch.nn.init.normal_(weight, std=0.3)
    return made


def fresh(config: PreTrainedConfig) -> PreTrainedModel:
    made: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    made.train(False)
    return made


def batch() -> Batch:
    return text.collate(PROMPTS, ANSWERS, 0)


def padded_logprobs(model: PreTrainedModel, given: Batch) -> Tensor:
    logs = models.padded_logits(model, given).log_softmax(dim=-1)
    found = logs.gather(-1, given.responses[..., None])[..., 0]
    return torch.where(given.action_mask, found, 0.0)


def test_the_layout_holds_each_token_once_and_shared_prompts_once() -> None:
    packed = packing.line(batch())
    assert packed.tokens[0, :5].tolist() == [5, 7, 8, 2, 9]
    shared = 2 + 3 + 3
    assert packed.tokens.shape[1] == sum(map(len, PROMPTS + ANSWERS)) - shared
    assert packed.positions[0, :7].tolist() == [0, 1, 2, 3, 2, 3, 4]
    assert torch.equal(packed.cells[packed.home], torch.arange(packed.tokens.shape[1]))
    assert len(packed.groups) > 1
    cells = sum(rows * columns for rows, columns in packed.groups)
    assert cells == len(packed.cells) == len(packed.home) + len(packed.idle)
    # Each state stands before its response token, the last one at the end.
    for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        states = packed.tokens[0, packed.states[row, : len(answer) + 1]].tolist()
        assert states == [prompt[-1], *answer]
    assert packed.read.tolist() == sorted(set(packed.states.flatten().tolist()))


def test_a_batch_of_one_length_is_one_group_without_padding() -> None:
    packed = packing.line(text.collate([[5, 6], [7, 8]], [[9, 9], [4, 2]], 0))
    assert packed.groups == [(2, 4)]
    assert packed.full
    assert not len(packed.idle)


def test_a_full_line_gives_the_same_as_its_rows(model: PreTrainedModel) -> None:
    full = text.collate([[5, 6], [7, 8]], [[9, 9], [4, 2]], 0)
    with torch.no_grad():
        found = models.response_logprobs(model, full, 1.0)
        torch.testing.assert_close(found, padded_logprobs(model, full), atol=1e-5, rtol=1e-5)


def test_logprobs_and_gradients_are_those_of_the_padded_batch(model: PreTrainedModel) -> None:
    assert packing.fits(model)
    twin, given = copy.deepcopy(model), batch()
    pull = torch.randn(given.action_mask.shape, generator=torch.Generator().manual_seed(1))
    found, expected = models.response_logprobs(model, given, 1.0), padded_logprobs(twin, given)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    (found * pull).sum().backward()  # type: ignore[no-untyped-call]
    (expected * pull).sum().backward()  # type: ignore[no-untyped-call]
    largest = max(
        float(weight.grad.abs().max()) for weight in twin.parameters() if weight.grad is not None
    )
    for (name, weight), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        if other.grad is not None:
            assert weight.grad is not None, name
            apart = (weight.grad - other.grad).abs().max().item()
            assert apart < 1e-4 * largest, name


def test_a_row_does_not_see_its_neighbours(model: PreTrainedModel) -> None:
    with torch.no_grad():
        together = models.response_logprobs(model, batch(), 1.0)
        for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
            alone = models.response_logprobs(model, text.collate([prompt], [answer], 0), 1.0)
            torch.testing.assert_close(together[row, : len(answer)], alone[0], atol=1e-5, rtol=1e-5)
            assert not together[row, len(answer) :].any()


@pytest.mark.parametrize("window", [3, 4096])
def test_a_model_that_looks_back_some_way_only_stays_padded(window: int) -> None:
    config = MistralConfig(
        **DEEP, intermediate_size=48, num_key_value_heads=2, sliding_window=window
    )
    torch.manual_seed(0)
    model = fresh(config)
    assert not packing.fits(model)
    given = batch()
    with torch.no_grad():
        found = models.response_logprobs(model, given, 1.0)
        torch.testing.assert_close(found, padded_logprobs(model, given))


def test_generation_with_a_cache_goes_on_as_before(model: PreTrainedModel) -> None:
    tokens = torch.tensor([[5, 7, 9, 4]])
    with torch.no_grad():
        before = model(input_ids=tokens).logits
        assert packing.fits(model)
        models.response_logprobs(model, batch(), 1.0)
        start = model(input_ids=tokens[:, :3], use_cache=True)
        rest = model(input_ids=tokens[:, 3:], past_key_values=start.past_key_values)
    torch.testing.assert_close(rest.logits[:, 0], before[:, 3], atol=1e-5, rtol=1e-5)
