"""A key-value cache with room for the whole answer, so that no step copies what is there."""

from typing import Any

from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from roundhouse.learn import packing


def with_room(model: PreTrainedModel, tokens: int) -> Cache:
    """An empty cache for `tokens` a row; the usual growing one for models of special layers."""
    if not packing.full_attention(model):
        return DynamicCache(config=model.config)
    return Cache(layers=[_Layer(tokens) for _ in range(int(model.config.num_hidden_layers))])


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer: the first columns of a buffer [B, heads, tokens, width].

    transformers' own layer makes a new tensor of everything at each token.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tokens = tokens

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes the new columns; returns all columns so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room = tuple(
                part.new_empty(*part.shape[:2], self._tokens, part.shape[3])
                for part in (key_states, value_states)
            )
        start, end = self.get_seq_length(), self.get_seq_length() + key_states.shape[2]
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, start:end] = new
        return self._show(end)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows, in their order; they move to the front of the buffer."""
        length = self.get_seq_length()
        if not length:
            return
        for room in self._room:
            room[: len(indices), :, :length] = room[indices, :, :length]
        self._room = tuple(room[: len(indices)] for room in self._room)
        self._show(length)

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        shown = self._room[0][:, :, :length], self._room[1][:, :, :length]
        self.keys, self.values = shown
        return shown
