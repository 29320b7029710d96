"""Maps are scaled products with a mask, and padded queries tell no models apart."""

from __future__ import annotations

import torch

from distill.losses.maps import masked_products, without_queries
from distill.tasks.base import MASKED_LOGIT


def vectors(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    # As models give them: heads cut out of the tokens' vectors.
    return torch.randn(2, 3, 4, 5, dtype=dtype).transpose(1, 2)


KEYS = torch.tensor([[True, True, False], [True, False, False]])


def test_products_are_scaled_and_masked_by_hand():
    left, right = vectors(), vectors()
    maps = masked_products(left, right, 0.5, KEYS)
    assert maps.shape == (2, 4, 3, 3)
    for row in range(2):
        for head in range(4):
            for i in range(3):
                for j in range(3):
                    product = 0.5 * float(left[row, head, i].dot(right[row, head, j]))
                    expected = product if KEYS[row, j] else MASKED_LOGIT + product
                    assert abs(float(maps[row, head, i, j]) - expected) <= 1e-12 * max(1.0, abs(expected))


def test_low_precision_is_widened_before_the_product():
    left, right = vectors(torch.bfloat16), vectors(torch.bfloat16)
    maps = masked_products(left, right, 0.5, KEYS)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, masked_products(left.float(), right.float(), 0.5, KEYS), atol=0, rtol=0)


def test_queries_that_do_not_count_are_related_to_all_keys_alike():
    queries = torch.tensor([[True, False, True], [False, True, True]])
    maps = masked_products(without_queries(vectors(), queries), vectors(), 0.5, KEYS).softmax(-1)
    alike = KEYS[:, None, None, :] / KEYS.sum(-1)[:, None, None, None]
    dropped = ~queries[:, None, :, None].expand_as(maps)
    torch.testing.assert_close(maps[dropped], alike.double().expand_as(maps)[dropped])
    assert not torch.allclose(maps[~dropped], alike.double().expand_as(maps)[~dropped])


def test_no_windows_have_no_maps():
    none = vectors()[:0]
    assert masked_products(none, none, 1.0, KEYS[:0]).shape == (0, 4, 3, 3)
