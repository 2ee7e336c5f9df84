"""Several opinions on one answer: how members come to differ, and the one score they agree on.

Members are K heads on one trunk (docs/decisions/0020). Each has weights of its own for the pairs,
drawn once; what they disagree on is what the pairs leave open.
"""

from typing import Literal

import torch
from torch import Tensor

Objective = Literal["mean", "worst", "mean_minus_variance"]


def bootstrap(pairs: int, members: int, seed: int) -> list[tuple[float, ...]]:
    """What each member multiplies the weight of each pair by: `pairs` tuples of K numbers.

    Exponential draws of mean 1, a smooth bootstrap in which no pair is lost to a member (Rubin
    1981, The Bayesian bootstrap). A single member takes the weights as they are.
    """
    if members == 1:
        return [()] * pairs
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.empty(pairs, members).exponential_(generator=generator)
    return [tuple(row) for row in drawn.tolist()]


def combine(opinions: Tensor, objective: Objective, variance_coef: float) -> Tensor:
    """One score [B] out of opinions [B, K].

    `mean`; `worst`, the lowest; `mean_minus_variance`, the mean less variance_coef times the
    variance over members (Coste et al. 2023, Reward model ensembles help mitigate overoptimization,
    section 4.2: their worst-case and uncertainty-weighted optimisation).
    """
    if objective == "worst":
        return opinions.min(dim=1).values
    mean = opinions.mean(dim=1)
    if objective == "mean":
        return mean
    return mean - variance_coef * opinions.var(dim=1, unbiased=False)


def disagreement(opinions: Tensor) -> Tensor:
    """Standard deviation [B] over the members of opinions [B, K]."""
    return opinions.std(dim=1, unbiased=False)
