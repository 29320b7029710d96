"""Maps of tokens to tokens, (B, H, S, S), in as few passes over their numbers as there can be."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor

from distill.losses.base import widen
from distill.tasks.base import MASKED_LOGIT


def in_one_precision(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return tensors of several models in the widest of their precisions, float32 at least.

    Otherwise what is equal in two models, such as a uniform row, would be rounded to two numbers.
    """
    each = list(tensors)
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in each), torch.float32)
    return [tensor.to(dtype) for tensor in each]


def masked_products(left: Tensor, right: Tensor, scaling: float, keys: Tensor) -> Tensor:
    """Return ``scaling * left right^T``, with ``MASKED_LOGIT`` added where there is no key, float32 or float64.

    One product that begins with the mask, since each further pass over S x S numbers costs as much as the product.

    Args:
        left: (B, H, S, d).
        right: (B, H, S, d).
        scaling: A factor.
        keys: (B, S) bool, the tokens of ``right`` that count.
    """
    num_rows, num_heads, length = left.shape[:3]
    left, right = (widen(vectors).flatten(0, 1) for vectors in (left, right))
    mask = left.new_zeros(keys.shape).masked_fill(~keys, MASKED_LOGIT).repeat_interleave(num_heads, 0)
    return mask[:, None].baddbmm(left, right.mT, alpha=scaling).view(num_rows, num_heads, length, length)


def without_queries(left: Tensor, queries: Tensor) -> Tensor:
    """Return vectors that are 0 at queries that do not count, whose softmax over any keys then is uniform.

    So it is equal in both models, and adds nothing to what tells them apart, if both are of one precision.

    Args:
        left: (B, H, S, d).
        queries: (B, S) bool, those that count.
    """
    return left.masked_fill(~queries[:, None, :, None], 0.0)
