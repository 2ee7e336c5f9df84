"""Chat messages to tokens, and tokens to padded batches.

A batch holds prompts padded on the left and responses padded on the right, so that every response
starts at the same column. Positions come from the mask; nothing ever looks for the pad token.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from roundhouse.learn import rl

#: A chat message has a `role` and a `content`.
Messages = list[dict[str, str]]


class Batch(NamedTuple):
    """Prompts and responses of B answers, P and R columns wide.

    Attributes:
        tokens: [B, P + R] integers.
        mask: [B, P + R], 1 at real tokens.
        positions: [B, P + R], counted from the first real token.
        lengths: [B] response tokens, EOS included.
        prompt_width: P.
    """

    tokens: Tensor
    mask: Tensor
    positions: Tensor
    lengths: Tensor
    prompt_width: int

    @property
    def responses(self) -> Tensor:
        """[B, R]: the response columns of `tokens`."""
        return self.tokens[:, self.prompt_width :]

    @property
    def action_mask(self) -> Tensor:
        """[B, R]: True at response tokens."""
        return rl.action_mask(self.lengths, self.tokens.shape[1] - self.prompt_width)


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Messages], limit: int
) -> list[list[int]]:
    """Tokens of each prompt up to where the answer starts; one over `limit` loses its beginning.

    A message is words: one that spells out a role's marker or `<eos>` cannot open a turn, where
    these are special tokens.
    """
    markers = _markers(tokenizer)
    texts = [
        str(
            tokenizer.apply_chat_template(
                [turn | {"content": _plain(turn["content"], markers)} for turn in prompt],
                tokenize=False,
                add_generation_prompt=True,
            )
        )
        for prompt in prompts
    ]
    return [ids[-limit:] for ids in _ids(tokenizer, texts)]


def encode_responses(
    tokenizer: PreTrainedTokenizerBase, responses: Sequence[str], limit: int
) -> list[list[int]]:
    """Tokens of each response, ended by EOS; one over `limit` is cut and has no end.

    A response is words: one that spells out `<eos>` or a role's marker does not become that token.
    """
    end = eos_id(tokenizer)
    return [[*ids, end][:limit] for ids in _ids(tokenizer, responses, split_special_tokens=True)]


def decode(tokenizer: PreTrainedTokenizerBase, responses: Sequence[Sequence[int]]) -> list[str]:
    """The text of each response, without special tokens or outer white space."""
    texts = tokenizer.batch_decode([list(ids) for ids in responses], skip_special_tokens=True)
    return [text.strip() for text in texts]


def eos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a response."""
    return int(tokenizer.eos_token_id)


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills a batch: any but the end token will do where the tokenizer has none."""
    end = eos_id(tokenizer)
    if tokenizer.pad_token_id in (None, end):
        return 0 if end else 1
    return int(tokenizer.pad_token_id)


def collate(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    pad: int,
    device: torch.device | None = None,
) -> Batch:
    """Pads prompts on the left and responses on the right, each to the widest of this batch."""
    prompt_width = max(len(ids) for ids in prompts)
    width = prompt_width + max(len(ids) for ids in responses)
    rows, masks = [], []
    for prompt, response in zip(prompts, responses, strict=True):
        before = prompt_width - len(prompt)
        after = width - prompt_width - len(response)
        rows.append([pad] * before + [*prompt, *response] + [pad] * after)
        masks.append([0] * before + [1] * (len(prompt) + len(response)) + [0] * after)
    mask = torch.tensor(masks, device=device)
    lengths = torch.tensor([len(ids) for ids in responses], device=device)
    return Batch(torch.tensor(rows, device=device), mask, positions_of(mask), lengths, prompt_width)


def positions_of(mask: Tensor) -> Tensor:
    """[B, T] positions counted from the first real token of mask [B, T]; padding gets 0."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


def length_groups(
    lengths: Sequence[int], size: int, generator: torch.Generator
) -> Iterator[list[int]]:
    """Indices of one pass in batches of `size`, near in length and in random order.

    Sorting inside random runs of 50 batches keeps padding low and the order unpredictable; the last
    batch of a run may be smaller.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), 50 * size):
        run = sorted(order[start : start + 50 * size], key=lambda index: lengths[index])
        batches += [run[first : first + size] for first in range(0, len(run), size)]
    for index in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[index]


def _markers(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Every special token, the longest first: those with a name, and those that templates use."""
    added = tokenizer.added_tokens_decoder.values()
    special = {*tokenizer.all_special_tokens, *(one.content for one in added if one.special)}
    return sorted(special, key=lambda marker: (-len(marker), marker))


def _plain(content: str, markers: Sequence[str]) -> str:
    """The content with a space inside every marker that it spells out."""
    for marker in markers:
        content = content.replace(marker, f"{marker[:1]} {marker[1:]}")
    return content


def _ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], split_special_tokens: bool = False
) -> list[list[int]]:
    if not texts:
        return []
    found = tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=split_special_tokens
    )
    return [list(ids) for ids in found["input_ids"]]
