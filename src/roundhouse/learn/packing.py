"""Batches without padding: all tokens of all rows in one line, padded in attention alone.

A transformer treats each token by itself but in attention. So its layers run on a line of N tokens,
[1, N], and only attention sees rows: it gathers them into padded groups of similar length, lets
every token see what stands before it in its row, and puts the result back in line. Rows start at
the left there, so that causality hides the padding and no mask is needed. Rows that follow each
other and have the same prompt share its tokens: it is encoded once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from roundhouse.learn.text import Batch, positions_of

#: The attention of this file, by the name under which transformers knows it.
ATTENTION = "roundhouse_rows"

#: A group of rows is closed before padding would make it this much larger than its tokens.
_MOST = 1.25


class Line(NamedTuple):
    """A batch of B rows as a line of N tokens, and the way to padded rows and back.

    Attributes:
        tokens, positions: [1, N].
        groups: (rows, columns) of each padded group; together they have M cells.
        cells: [M] the token in each cell; any token in padding.
        home: [N] the cell that speaks for each token.
        idle: cells whose result nobody reads: padding, and a shared prompt again.
        again: cells that hold a token which has its home elsewhere.
        states: [B, R + 1] the token before each response token, and the last one.
        full: the cells are the line itself: rows of one length, no prompt shared.
        read: tokens whose last state somebody reads: those of `states`, each once.
    """

    tokens: Tensor
    positions: Tensor
    groups: list[tuple[int, int]]
    cells: Tensor
    home: Tensor
    idle: Tensor
    again: Tensor
    states: Tensor
    full: bool
    read: Tensor


def line(batch: Batch) -> Line:
    """The batch's tokens in line, row after row, in the batch's order."""
    width, first, device = batch.tokens.shape[1], batch.prompt_width, batch.tokens.device
    prompt = batch.mask[:, :first].sum(dim=1, keepdim=True)
    whole = prompt + batch.lengths[:, None]
    column = torch.arange(int(whole.max()), device=device)[None]
    real = column < whole
    # A row's first real token stands `first - prompt` columns from the left.
    tokens = batch.tokens.gather(1, (column + first - prompt).clamp(max=width - 1))
    opens = ~_same_prompt(batch)[:, None]
    fresh = real & (opens | (column >= prompt))
    number = (fresh.flatten().cumsum(0) - 1).view_as(fresh)
    opener = torch.where(opens[:, 0], torch.arange(len(opens), device=device), 0).cummax(0)[0]
    number = torch.where(fresh, number, number[opener])
    cells, groups, is_fresh, is_real = [], [], [], []
    for rows in _groups(whole[:, 0].tolist()):
        wide = int(whole[rows].max())
        groups.append((len(rows), wide))
        cells.append(torch.where(real, number, 0)[rows, :wide].flatten())
        is_fresh.append(fresh[rows, :wide].flatten())
        is_real.append(real[rows, :wide].flatten())
    flat, speaks = torch.cat(cells), torch.cat(is_fresh)
    home = torch.empty(int(fresh.sum()), dtype=torch.long, device=device)
    home[flat[speaks]] = speaks.nonzero()[:, 0]
    steps = torch.arange(width - first + 1, device=device)[None].clamp(max=batch.lengths[:, None])
    return Line(
        tokens[fresh][None],
        column.expand_as(fresh)[fresh][None],
        groups,
        flat,
        home,
        idle=(~speaks).nonzero()[:, 0],
        again=(torch.cat(is_real) & ~speaks).nonzero()[:, 0],
        states=number.gather(1, prompt - 1 + steps),
        full=len(groups) == 1 and bool(speaks.all()),
        # Fresh tokens from the last one of the prompt on, and the last one of each shared prompt.
        read=(column >= prompt - 1)[fresh].nonzero()[:, 0],
    )


def run(model: PreTrainedModel, packed: Line, **more: Any) -> Any:
    """The model's output for a line; `more` goes to its forward.

    States are right at `packed.states`. Those of other tokens, which stand inside a prompt, lack
    what the last layer's feed-forward part would add: nobody reads them.
    """
    if model.config._attn_implementation != ATTENTION:
        model.set_attn_implementation(ATTENTION)
    with _fed_forward_where_read(model, packed):
        return model(
            input_ids=packed.tokens,
            # Four dimensions: taken as a finished mask, so that none is made. Nothing reads it.
            attention_mask=packed.tokens.new_empty(1, 1, 1, 1),
            position_ids=packed.positions,
            use_cache=False,
            packed=packed,
            **more,
        )


@contextmanager
def _fed_forward_where_read(model: PreTrainedModel, packed: Line) -> Iterator[None]:
    """The last layer's feed-forward part sees `packed.read` alone, and adds 0 to other tokens."""
    part = _last_feed_forward(model)
    if part is None:
        yield
        return

    def only(_: torch.nn.Module, given: tuple[Tensor]) -> Tensor:
        return given[0].index_select(1, packed.read)

    def put_back(_: torch.nn.Module, __: Any, result: Tensor) -> Tensor:
        whole = result.new_zeros(1, packed.tokens.shape[1], result.shape[2])
        return whole.index_copy(1, packed.read, result)

    handles = [part.register_forward_pre_hook(only), part.register_forward_hook(put_back)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _last_feed_forward(model: PreTrainedModel) -> torch.nn.Module | None:
    """`mlp` of the last layer; None where there is no one such part, or layers run twice."""
    count = int(model.config.num_hidden_layers)
    stacks = [
        module
        for module in model.base_model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count
    ]
    part = getattr(stacks[0][-1], "mlp", None) if len(stacks) == 1 else None
    # With gradient checkpointing a layer runs again in the backward pass, without the hooks.
    simple = isinstance(part, torch.nn.Module) and not model.is_activation_checkpointing
    return part if simple else None


def full_attention(model: PreTrainedModel) -> bool:
    """Whether every layer is attention to all that stands before, as far as it is configured."""
    layers = getattr(model.config, "layer_types", None) or []
    windows = getattr(model.config, "sliding_window", None)
    return windows is None and all(layer == "full_attention" for layer in layers)


def fits(model: PreTrainedModel) -> bool:
    """Whether the model gives the same states in line as in a padded batch; tried once.

    Not so where its layers mix tokens in another way than by full attention.
    """
    if model not in _FITS:
        _FITS[model] = _tried(model)
    return _FITS[model]


_FITS: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


@torch.no_grad()
def _tried(model: PreTrainedModel) -> bool:
    if (
        not getattr(model, "_supports_attention_backend", False)
        or model.config._attn_implementation not in ("sdpa", ATTENTION)
        or not full_attention(model)
    ):
        return False
    body: PreTrainedModel = model.base_model  # type: ignore[assignment]
    count = int(model.config.vocab_size)
    tokens = (torch.arange(24, device=model.device).view(3, 8) * 7 + 3) % count
    tokens[1, :4] = tokens[0, :4]
    mask = torch.ones_like(tokens)
    mask[:2, 0] = mask[2, :2] = 0
    mask[1, 7] = mask[2, 6:] = 0
    batch = Batch(tokens, mask, positions_of(mask), mask[:, 4:].sum(dim=1), 4)
    padded = body(
        input_ids=tokens, attention_mask=mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    packed = line(batch)
    try:
        found = run(body, packed).last_hidden_state[0, packed.states]
    except (AttributeError, TypeError):  # its parts are of another make than those known here
        return False
    real = torch.arange(5, device=model.device) <= batch.lengths[:, None]
    return bool(torch.allclose(found[real], padded[:, 3:][real], rtol=1e-3, atol=1e-4))


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packed: Line | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention for transformers: by rows for a line, and the usual one for everything else.

    query, key, value: [1, heads, N, width of a head].
    """
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **more)
    sizes = [rows * columns for rows, columns in packed.groups]
    parts = [_to_cells(part.transpose(1, 2)[0], packed) for part in (query, key, value)]
    split = [torch.split(part, sizes) if len(sizes) > 1 else (part,) for part in parts]
    results = []
    for group, *cells in zip(packed.groups, *split, strict=True):
        rows = [part.unflatten(0, group).transpose(1, 2) for part in cells]
        result, _ = sdpa_attention_forward(module, rows[0], rows[1], rows[2], None, **more)
        results.append(result.flatten(0, 1))
    whole = torch.cat(results) if len(results) > 1 else results[0]
    if not packed.full:
        whole = _FromCells.apply(whole, packed)  # type: ignore[no-untyped-call]
    return whole[None], None


def _to_cells(given: Tensor, packed: Line) -> Tensor:
    if packed.full:
        return given
    cells: Tensor = _ToCells.apply(given, packed)  # type: ignore[no-untyped-call]
    return cells


class _ToCells(torch.autograd.Function):
    """[N, ...] in line to [M, ...] cells."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, packed: Line) -> Tensor:
        ctx.packed = packed
        return given.index_select(0, packed.cells)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        packed = ctx.packed
        found = gradient.index_select(0, packed.home)
        if len(packed.again):
            more = gradient.index_select(0, packed.again)
            found.index_add_(0, packed.cells[packed.again], more)
        return found, None


class _FromCells(torch.autograd.Function):
    """[M, ...] cells to [N, ...] in line."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, packed: Line) -> Tensor:
        ctx.packed = packed
        return given.index_select(0, packed.home)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        found = gradient.index_select(0, ctx.packed.cells)
        return found.index_fill_(0, ctx.packed.idle, 0.0), None


def _same_prompt(batch: Batch) -> Tensor:
    """[B]: True where a row's prompt is that of the row before it."""
    prompts, masks = (part[:, : batch.prompt_width] for part in (batch.tokens, batch.mask))
    same = (masks[1:] == masks[:-1]) & ((prompts[1:] == prompts[:-1]) | (masks[1:] == 0))
    first = torch.zeros(1, dtype=torch.bool, device=prompts.device)
    return torch.cat([first, same.all(dim=1)])


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in groups of similar length, longest first."""
    found: list[list[int]] = []
    tokens = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        wide = lengths[found[-1][0]] if found else 0
        if found and wide * (len(found[-1]) + 1) <= _MOST * (tokens + lengths[row]):
            found[-1].append(row)
            tokens += lengths[row]
        else:
            found.append([row])
            tokens = lengths[row]
    return found


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
