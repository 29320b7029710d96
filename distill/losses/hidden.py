"""Hidden-state distillation: squared distance between states of mapped layers."""

from __future__ import annotations

from distill.losses.states import Projection, StateLoss
from distill.types import LayerMap


class HiddenStateLoss(StateLoss):
    """Mean squared error of hidden states, summed over mapped layers.

    ``sum over pairs (s, t) of mean over real tokens of |W h_s + b - h_t|^2 / D_t`` (TinyBERT, arXiv 1909.10351, eq. 8)

    ``total`` sums over pairs and tokens; ``count`` is the number of real tokens, so pairs are summed and not averaged.
    A batch without real tokens gives 0. With ``normalise`` the term is ``|u - v|^2`` of the two unit vectors, from 0
    to 4 for each pair, not divided by D_t.

    Args:
        projection: ``per_layer`` gives each pair its own linear map where widths differ and none where they are equal;
            ``shared`` learns one linear map for all pairs, also between equal widths (the papers' ``fit_dense``);
            ``none`` demands equal widths.
        normalise: Scale each vector to unit length first and so compare directions alone.
        include_embeddings: Compare state 0, the embedding output, as one more pair, unless the layer map does so
            already; with ``shared`` its map is the same one, as in the released code of SpanishTinyRoBERTa (arXiv
            2312.04193) and TinyBERT.
        mask_padding: Leave padding out of the mean.

    Raises:
        UserError: If the projection is unknown.
    """

    def __init__(
        self,
        projection: Projection = "per_layer",
        normalise: bool = False,
        include_embeddings: bool = False,
        mask_padding: bool = True,
    ) -> None:
        super().__init__(projection, normalise, mask_padding)
        self.include_embeddings = include_embeddings

    def _state_pairs(self, layer_map: LayerMap | None) -> tuple[tuple[int, int], ...]:
        pairs = self._required_layer_map(layer_map).hidden
        is_mapped = any(student_state == 0 for student_state, _ in pairs)
        return ((0, 0), *pairs) if self.include_embeddings and not is_mapped else pairs
