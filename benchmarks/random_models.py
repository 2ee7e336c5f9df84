"""Models of random weights, as both sides of a comparison read them; dropout is off."""

from typing import Any, cast

from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from roundhouse.learn.reward_model import RewardModel

PAD, BOS, EOS, FIRST_WORD = 0, 1, 2, 7
#: Parameters, about. The larger ones are for a GPU.
SIZES: dict[str, dict[str, Any]] = {
    "1M": {
        "vocab_size": 1024, "hidden_size": 128, "intermediate_size": 384,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
    },
    "15M": {
        "vocab_size": 8192, "hidden_size": 384, "intermediate_size": 1024,
        "num_hidden_layers": 7, "num_attention_heads": 6, "num_key_value_heads": 6,
    },
    "110M": {
        "vocab_size": 32000, "hidden_size": 768, "intermediate_size": 2048,
        "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 12,
    },
    "340M": {
        "vocab_size": 32000, "hidden_size": 1024, "intermediate_size": 2816,
        "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16,
    },
}  # fmt: skip


def llama(size: str) -> LlamaConfig:
    """The shape of a Llama of one of the sizes."""
    return LlamaConfig(
        **SIZES[size], pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS,
        tie_word_embeddings=True, max_position_embeddings=1024,
    )  # fmt: skip


def causal(config: PreTrainedConfig) -> PreTrainedModel:
    """A language model of this shape."""
    made: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()  # type: ignore[no-untyped-call]
    return made


def scorer(config: PreTrainedConfig) -> PreTrainedModel:
    """A reward model or critic of this shape: a trunk with one score."""
    config.num_labels = 1
    found = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    made: PreTrainedModel = found.eval()
    return made


def score(scorer: PreTrainedModel) -> nn.Linear:
    """What reads a scorer's states; it has no bias."""
    return cast(nn.Linear, scorer.score)


def head(scorer: PreTrainedModel) -> RewardModel:
    """The project's reward model on the trunk and head of a scorer."""
    made = RewardModel(cast(PreTrainedModel, scorer.base_model), "last")
    made.head.weight = score(scorer).weight
    made.head.bias.requires_grad_(False)
    return made
