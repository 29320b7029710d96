"""Embedding distillation: squared distance between the two embedding outputs."""

from __future__ import annotations

from distill.losses.states import Projection, StateLoss
from distill.types import LayerMap


class EmbeddingLoss(StateLoss):
    """Mean squared error of the embedding output, state 0 of both models.

    ``mean over real tokens of |W e_s + b - e_t|^2 / D_t`` (TinyBERT, arXiv 1909.10351, eq. 9)

    ``count`` is the number of real tokens. A batch without real tokens gives 0. With ``normalise`` the term is
    ``|u - v|^2`` of the two unit vectors, from 0 to 4, not divided by D_t.

    Args:
        projection: ``per_layer`` learns a linear map where widths differ and none where they are equal; ``shared``
            learns one always; ``none`` demands equal widths.
        normalise: Scale each vector to unit length first and so compare directions alone.
        mask_padding: Leave padding out of the mean.

    Raises:
        UserError: If the projection is unknown.
    """

    def __init__(
        self, projection: Projection = "per_layer", normalise: bool = False, mask_padding: bool = True
    ) -> None:
        super().__init__(projection, normalise, mask_padding)

    def _state_pairs(self, layer_map: LayerMap | None) -> tuple[tuple[int, int], ...]:
        return ((0, 0),)
