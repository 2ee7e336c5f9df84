"""The cache with room: what transformers' own one holds, without copies."""

import torch
from transformers import DynamicCache, MistralConfig, MistralForCausalLM

from roundhouse.learn.cache import with_room
from roundhouse.learn.models import Policy


def test_it_shows_what_the_growing_cache_shows_and_stays_where_it_is(policy: Policy) -> None:
    ours, usual = with_room(policy.model, 9), DynamicCache(config=policy.model.config)
    torch.manual_seed(0)
    places = set()
    for rows, tokens in ((3, 4), (3, 1), (2, 1), (2, 3)):
        if (rows, tokens) == (2, 1):
            for cache in (ours, usual):
                cache.batch_select_indices(torch.tensor([0, 2]))
        new = torch.randn(2, rows, 2, tokens, 8)
        shown, expected = ours.update(new[0], new[1], 0), usual.update(new[0], new[1], 0)
        for part, wanted in zip(shown, expected, strict=True):
            assert torch.equal(part, wanted)
        places.add(shown[0].data_ptr())
        assert ours.get_seq_length() == usual.get_seq_length()
    assert len(places) == 1


def test_a_model_of_windows_keeps_the_cache_made_for_it() -> None:
    config = MistralConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, sliding_window=4,
    )  # fmt: skip
    assert isinstance(with_room(MistralForCausalLM(config), 9), DynamicCache)
