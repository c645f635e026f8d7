"""Dice and cross entropy at every resolution, over the voxels that the mask speaks of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional

_SMOOTH = 1e-5


def deep_loss(outputs: list[Any], lesion: Any, known: Any) -> Any:
    """Weighted sum over resolutions: each half the weight of the finer one, the last none.

    Parameters
    ----------
    outputs : list of tensor, shape (batch, 2, z, y, x), finest first
    lesion, known : tensor, shape (batch, 1, z, y, x), of the finest output
        1 where there is lesion; 1 where the loss counts.
    """
    weights = [0.5**i for i in range(len(outputs))]
    if len(weights) > 1:
        weights[-1] = 0.0
    total: Any = 0.0
    for weight, logits in zip(weights, outputs, strict=True):
        if weight:
            total = total + weight * dice_ce(logits, *_coarser(lesion, known, logits.shape[2:]))
    return total / sum(weights)


def dice_ce(logits: Any, lesion: Any, known: Any) -> Any:
    """Dice loss of the lesion, for each example, plus cross entropy; both masked.

    Where all is known this is MONAI's `DiceCELoss(include_background=False, softmax=True)`.
    """
    logits = logits.float()
    probability = torch.softmax(logits, dim=1)[:, 1:]
    found, wanted = probability * known, lesion * known
    axes = tuple(range(1, found.ndim))
    both = (found * wanted).sum(axes)
    dice = 1 - (2 * both + _SMOOTH) / (found.sum(axes) + wanted.sum(axes) + _SMOOTH)
    entropy = functional.cross_entropy(logits, lesion[:, 0].long(), reduction="none")
    return dice.mean() + (entropy * known[:, 0]).sum() / known.sum().clamp(min=1)


def _coarser(lesion: Any, known: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Both masks on a coarser grid: a voxel is what most of its known voxels are."""
    if lesion.shape[2:] == shape:
        return lesion, known
    share = functional.adaptive_avg_pool3d(known, shape)
    inside = functional.adaptive_avg_pool3d(known * lesion, shape)
    # Thin lesions keep their voxels: a tie counts as lesion.
    return ((inside > 0) & (2 * inside >= share)).float(), (share > 0).float()
