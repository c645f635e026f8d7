"""Changes of examples: the same for a seed, and those of MONAI's transforms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.transforms import (
    AdjustContrast,
    Affine,
    GaussianSmooth,
    RandSimulateLowResolution,
    Transform,
)

from uls_data.network.augmentation import Augmentation, coarse, contrasted, smoothed, turned


def example() -> dict[str, Any]:
    image = torch.randn(1, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    lesion, known = torch.zeros(1, 16, 32, 32), torch.zeros(1, 16, 32, 32)
    known[:, 8] = 1
    lesion[:, 8, 12:20, 10:22] = 1
    return {"image": image, "lesion": lesion, "known": known}


def test_augmentation_is_a_function_of_its_seed() -> None:
    one, other = Augmentation(), Augmentation()
    other(example(), 99)
    different = 0
    for seed in range(12):
        first, second = one(example(), seed), other(example(), seed)
        for name, value in first.items():
            assert type(value) is torch.Tensor and value.shape == (1, 16, 32, 32)
            assert torch.equal(value, second[name])
        different += not torch.equal(first["image"], example()["image"])
        # A key slice stays one slice, whole.
        slices = first["known"].amax(dim=(0, 2, 3))
        assert slices.sum() == 1 and first["known"].sum() == 32 * 32
        assert set(first["lesion"].unique().tolist()) <= {0.0, 1.0}
        assert 0.4 < float(first["lesion"].sum()) / 96 < 2.1
    assert different >= 10


def picture() -> Any:
    """Smooth structures over noise, of odd and unlike sizes."""
    source = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 9, 40, 31, generator=source)
    return noise + 3 * torch.linspace(-3, 3, 31).sin()


def low_resolution(zoom: float) -> Transform:
    return RandSimulateLowResolution(prob=1, zoom_range=(zoom, zoom))


# Beyond the edges MONAI takes zeros where an image is smoothed; here they go on as they end.
@pytest.mark.parametrize(
    ("ours", "monais", "edge"),
    [
        (lambda i: smoothed(i, (0.6, 1.0, 0.8)), GaussianSmooth((0.6, 1.0, 0.8)), 4),
        (lambda i: coarse(i, 0.62), low_resolution(0.62), 0),
        (lambda i: contrasted(i, 1.4), AdjustContrast(1.4, retain_stats=True), 0),
    ],
    ids=["smoothed", "coarse", "contrasted"],
)
def test_looks_as_monai_makes_it(ours: Callable[[Any], Any], monais: Transform, edge: int) -> None:
    inner = (slice(None), *(slice(edge, size - edge) for size in picture().shape[1:]))
    expected = monais(picture()).as_tensor()
    torch.testing.assert_close(ours(picture())[inner], expected[inner], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_turns_as_monai_does(mode: str) -> None:
    monais = Affine(
        rotate_params=(0.4, 0, 0),
        scale_params=(1, 0.8, 1.3),
        mode=mode,
        padding_mode="border",
        image_only=True,
    )
    expected = monais(picture()).as_tensor()
    found = turned(picture(), 0.4, (0.8, 1.3), mode)
    # Where a place lies midway between voxels, rounding decides.
    same = torch.isclose(found, expected, rtol=1e-3, atol=1e-3).float().mean()
    assert same > (0.999 if mode == "bilinear" else 0.99)


def test_changes_have_their_chances() -> None:
    """In 600 examples, each change comes about as often as nnU-Net makes it."""
    still = {name: torch.zeros(1, 2, 8, 8) for name in ("image", "lesion", "known")}
    still["lesion"][0, 0, 2, 1] = 1
    still["known"][0, 0] = 1
    still["image"] = torch.linspace(-1, 1, 128).reshape(1, 2, 8, 8)
    counts: Counter[str] = Counter()
    augmentation = Augmentation()
    for seed in range(600):
        changed = augmentation(dict(still), seed)
        at = changed["lesion"].nonzero().tolist()
        flipped = len(at) == 1 and at[0][2] in (2, 5) and at[0][3] in (1, 6)
        counts["placed only by flips"] += flipped
        counts["upside down"] += bool(changed["known"][0, 1].all())
        if not flipped:
            continue
        values, as_before = changed["image"].flatten().sort().values, still["image"].flatten()
        counts["image as it was"] += torch.allclose(values, as_before, atol=1e-5)
    # Some turns leave this voxel where it is.
    assert 0.6 < counts["placed only by flips"] / 600 < 0.76
    assert 0.44 < counts["upside down"] / 600 < 0.56
    share = counts["image as it was"] / counts["placed only by flips"]
    assert 0.35 < share < 0.52  # .9 * .9 * .85 * .9 * .7 = .43
