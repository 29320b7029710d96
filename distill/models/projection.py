"""The linear algebra of a narrower start: which directions to keep, and the best small matrices in place of big ones.

Samples are rows: N of them. D_t is the teacher's width and D_s the student's. Results are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

#: Added to the diagonal of a covariance before it is inverted, in parts of its mean diagonal.
RIDGE = 1e-4

_TINY = torch.finfo(torch.float64).tiny


class Affine(NamedTuple):
    """``y = weight x + bias``, with the share of the targets' variance, from 0 to 1, that it was found to give."""

    weight: Tensor
    bias: Tensor
    kept: float = 1.0


class Factors(NamedTuple):
    """Two matrices of d rows, ``left^T right``, with the share of a larger product's energy that theirs has."""

    left: Tensor
    right: Tensor
    kept: float


class Root(NamedTuple):
    """The symmetric root of a matrix of second moments, and its inverse."""

    root: Tensor
    inverse: Tensor


def principal_map(states: Sequence[Tensor], width: int, generator: torch.Generator) -> tuple[Tensor, float]:
    """Return E, (D_s, D_t), that maps hidden states to their ``width - 1`` principal components, and what they keep.

    The components are spread over the D_s coordinates by a random orthonormal matrix whose columns sum to 0. So
    ``E h`` has mean 0 over its coordinates, and layer norms lose nothing by subtracting it; and no coordinate varies
    more than the others, so that norms, which have one gain for each, can follow. An equal width gives the identity.

    Args:
        states: Samples of hidden states, each (N, D_t), N > 1.
        width: D_s.
        generator: Draws the spread.

    Returns:
        The map, and the share of the states' variance that its components hold.
    """
    teacher_width = states[0].shape[1]
    if width == teacher_width:
        return torch.eye(width, dtype=torch.float64), 1.0
    mean = sum(part.double().sum(0) for part in states) / sum(len(part) for part in states)
    scatter = sum(((part - mean).T @ (part - mean) for part in states), torch.zeros(()))
    variances, directions = torch.linalg.eigh(scatter)
    first = teacher_width - (width - 1)  # eigenvalues ascend
    spread = torch.randn(width, width, dtype=torch.float64, generator=generator)
    spread[:, 0] = 1.0
    kept = variances[first:].sum() / variances.sum().clamp_min(_TINY)
    return torch.linalg.qr(spread).Q[:, 1:] @ directions[:, first:].T, float(kept)


def regress(inputs: Tensor, targets: Tensor, prior: Tensor) -> Affine:
    """Return the affine map of least squared error from inputs (N, D_in) to targets (N, D_out).

    Ridge regression towards the weight ``prior``, (D_out, D_in), which is kept in directions that the samples do not
    show; the bias is free.
    """
    inputs, targets = inputs.double(), targets.double()
    rest = targets - inputs @ prior.T
    mean_input, mean_rest = inputs.mean(0), rest.mean(0)
    centred, rest = inputs - mean_input, rest - mean_rest
    covariance = centred.T @ centred / len(inputs)
    covariance.diagonal().add_(RIDGE * covariance.diagonal().mean() + _TINY)
    change = torch.linalg.solve(covariance, centred.T @ rest / len(inputs)).T
    kept = _kept(rest - centred @ change.T, targets)
    return Affine(prior + change, mean_rest - change @ mean_input, kept)


def fit_norm(inputs: Tensor, targets: Tensor, epsilon: float) -> Affine:
    """Return gain and bias, (D,) each, of the layer norm that takes inputs (N, D) closest to targets (N, D)."""
    normal, targets = F.layer_norm(inputs.double(), inputs.shape[1:], eps=epsilon), targets.double()
    centred, wanted = normal - normal.mean(0), targets - targets.mean(0)
    gain = (centred * wanted).sum(0) / centred.square().sum(0).clamp_min(_TINY)
    return Affine(gain, targets.mean(0) - gain * normal.mean(0), _kept(wanted - gain * centred, targets))


def moment_root(inputs: Tensor) -> Root:
    """Return the root of the second moments of ``[x, 1]``, each (D + 1, D + 1), for inputs x (N, D)."""
    extended = F.pad(inputs.double(), (0, 1), value=1.0)
    values, vectors = torch.linalg.eigh(extended.T @ extended / len(extended))
    # Bounded below, so that directions which never occur can be divided by.
    roots = values.clamp_min(1e-6 * values[-1]).sqrt()
    return Root((vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T)


def identity_root(width: int) -> Root:
    """Return the root for inputs whose directions are all alike."""
    return Root(torch.eye(width, dtype=torch.float64), torch.eye(width, dtype=torch.float64))


def cut_product(left: Tensor, right: Tensor, width: int, left_root: Root, right_root: Root) -> Factors:
    """Return factors of ``width`` rows whose product is the closest to ``left^T right`` on typical inputs.

    Minimises ``|A (left^T right - l^T r) B|``, the error on inputs of second moments A^2 and B^2, by cutting the
    singular values of ``A left^T right B`` and giving each factor their root.

    Args:
        left: (d, D_left).
        right: (d, D_right).
        width: Rows of the factors, at most d.
        left_root: A, (D_left, D_left).
        right_root: B, (D_right, D_right).
    """
    # The product has rank d at most, so its singular values are those of a d x d matrix.
    left_basis, left_rest = torch.linalg.qr(left_root.root @ left.T)
    right_basis, right_rest = torch.linalg.qr(right_root.root @ right.T)
    u, values, vt = torch.linalg.svd(left_rest @ right_rest.T)
    size = values[:width].sqrt()
    new_left = (left_basis @ u[:, :width] * size).T @ left_root.inverse
    new_right = (right_basis @ vt[:width].T * size).T @ right_root.inverse
    kept = values[:width].square().sum() / values.square().sum().clamp_min(_TINY)
    return Factors(new_left, new_right, float(kept))


def _kept(error: Tensor, targets: Tensor) -> float:
    """Return the share of the targets' variance that an error leaves over, not below 0."""
    variance = (targets - targets.mean(0)).square().sum()
    return max(0.0, float(1 - error.square().sum() / variance.clamp_min(_TINY)))
