"""The loss against MONAI's own where all is known, and blind where nothing is."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss

from uls_data.network.loss import deep_loss, dice_ce


def random_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 2, 8, 8, 8, generator=generator)
    lesion = (torch.rand(2, 1, 8, 8, 8, generator=generator) < 0.3).float()
    known = (torch.rand(2, 1, 8, 8, 8, generator=generator) < 0.5).float()
    return logits, lesion, known


@pytest.mark.parametrize("seed", range(3))
def test_equals_monais_where_all_is_known(seed: int) -> None:
    logits, lesion, _ = random_case(seed)
    theirs = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1e-5, smooth_dr=1e-5
    )
    assert float(dice_ce(logits, lesion, torch.ones_like(lesion))) == pytest.approx(
        float(theirs(logits, lesion)), abs=1e-6
    )


def test_unknown_voxels_do_not_count() -> None:
    logits, lesion, known = random_case(7)
    logits.requires_grad_(True)
    loss = dice_ce(logits, lesion, known)
    loss.backward()
    assert logits.grad is not None
    unknown = (known == 0).expand_as(logits)
    assert (logits.grad[unknown] == 0).all() and (logits.grad[~unknown] != 0).all()
    changed = torch.where(unknown, logits.detach() + 5, logits.detach())
    flipped = torch.where(known == 0, 1 - lesion, lesion)
    assert float(dice_ce(changed, flipped, known)) == pytest.approx(float(loss.detach()), abs=1e-6)
    nothing = dice_ce(logits.detach(), lesion, torch.zeros_like(known))
    assert torch.isfinite(nothing)


def test_coarser_outputs_weigh_half_and_the_last_nothing() -> None:
    logits, lesion, known = random_case(9)
    middle, last = torch.randn(2, 2, 4, 4, 4), torch.randn(2, 2, 2, 2, 2)
    whole = deep_loss([logits, middle, last], lesion, known)
    first = dice_ce(logits, lesion, known)
    # By hand: a block of 2 x 2 x 2 is what most of its known voxels are.
    blocks = (known.view(2, 1, 4, 2, 4, 2, 4, 2), (lesion * known).view(2, 1, 4, 2, 4, 2, 4, 2))
    counted, inside = (block.sum(dim=(3, 5, 7)) for block in blocks)
    coarse = ((2 * inside >= counted) & (inside > 0)).float()
    second = dice_ce(middle, coarse, (counted > 0).float())
    assert float(whole) == pytest.approx(float((first + second / 2) / 1.5), abs=1e-6)
    assert float(deep_loss([logits], lesion, known)) == pytest.approx(float(first), abs=1e-6)


def test_a_key_slice_survives_every_resolution() -> None:
    known = torch.zeros(1, 1, 8, 8, 8)
    known[:, :, 3] = 1
    lesion = torch.zeros_like(known)
    lesion[:, :, 3, 2:6, 2:6] = 1
    logits = [torch.zeros(1, 2, n, n, n, requires_grad=True) for n in (8, 4, 2)]
    deep_loss(logits, lesion, known).backward()
    grad = logits[1].grad
    assert grad is not None
    assert (grad[:, :, 1] != 0).all() and (grad[:, :, [0, 2, 3]] == 0).all()
    # Where there is lesion, its logit is to rise.
    assert (grad[0, 1, 1, 1:3, 1:3] < 0).all() and (grad[0, 1, 1, 0] > 0).all()
