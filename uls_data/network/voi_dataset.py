"""VOIs for your own training: a map-style data set of torch."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from uls_data.errors import ManifestError
from uls_data.geometry import Triple, fill_outside
from uls_data.ids import draw
from uls_data.manifest.row import Row
from uls_data.network.augmentation import Augmentation
from uls_data.network.examples import find_examples
from uls_data.network.plan import VOI_ZYX
from uls_data.network.sampling import other_click
from uls_data.network.voxels import LESION, SUPERVISED, VALID, WEAK, Region, Weak, read_region

Split = Literal["train", "heldout"]
_VOXELS = ("image", "lesion", "known", "valid")
# As many as stay in a processor's cache while their marks are told apart.
_SLAB_VOXELS = 1 << 17


class VoiDataset(Dataset[dict[str, Any]]):  # type: ignore[misc]  # torch is untyped here
    """VOIs of manifests, as `train` takes them: the same choice of rows, layers and patients.

    An item is a dict that torch's default collation batches:

    - `image`: float32, shape (1, z, y, x), HU, or -1 to 1 over `window_hu`; padding holds the
      smallest value of the scan there
    - `lesion`: float32, shape (1, z, y, x), 1 on the lesion
    - `known`: float32, shape (1, z, y, x), 1 where the mask says what a voxel is: everywhere, but
      for masks of one slice
    - `valid`: float32, shape (1, z, y, x), 1 on the scan, 0 on padding
    - `voi_id`, `lesion_type`, `supervision`: text

    An item depends only on the seed, the epoch and the row, not on the worker: call `set_epoch`
    before each epoch.

    Parameters
    ----------
    manifests : path or sequence of paths
        Manifests, or OUT folders of builds.
    split : str
        `train`, or `heldout`: the patients who never train.
    crop : tuple of 3 int
        Size about the click, z, y, x; even, at most (128, 256, 256).
    layers : collection of str
        Layers to take. Default: the preferred one of each VOI.
    certified : bool
        Of pseudo-masks only those that a certificate keeps (`uls-data certify`).
    weak : str
        `ignore`: of a mask of one slice only that slice is known; `background`: all is.
    reclick : float
        Share of items that are centred on another voxel of the lesion, within a quarter of the
        crop of the click.
    window_hu : tuple of 2 float, optional
        Lowest and highest HU; what lies beyond is clipped.
    augment : bool
        Change items at random, as `train` does; needs `window_hu`.
    seed : int

    Raises
    ------
    ManifestError
        No row to take, several masks of a VOI to choose from, or a value out of its range.
    """

    def __init__(
        self,
        manifests: str | Path | Sequence[str | Path],
        *,
        split: Split = "train",
        crop: Triple = VOI_ZYX,
        layers: Collection[str] = (),
        certified: bool = False,
        weak: Weak = "ignore",
        reclick: float = 0.0,
        window_hu: tuple[float, float] | None = None,
        augment: bool = False,
        seed: int = 0,
    ) -> None:
        if split not in ("train", "heldout"):
            raise ManifestError(f"split {split!r}: expected train or heldout")
        if weak not in WEAK:
            raise ManifestError(f"weak {weak!r}: expected one of {', '.join(WEAK)}")
        # Of NumPy too; a size or a seed that is not whole is a TypeError.
        crop, seed = tuple(map(operator.index, crop)), operator.index(seed)  # type: ignore[assignment]
        if len(crop) != 3 or any(
            n < 2 or n % 2 or n > m for n, m in zip(crop, VOI_ZYX, strict=True)
        ):
            raise ManifestError(f"crop {crop}: expected z, y, x, even, at most {VOI_ZYX}")
        if not 0 <= reclick <= 1:
            raise ManifestError(f"reclick {reclick}: expected a share, 0 to 1")
        if window_hu is not None:
            low, high = map(float, window_hu)
            if not low < high or not isfinite(high - low):
                raise ManifestError(f"window_hu {window_hu}: expected two numbers, the lower first")
            window_hu = low, high
        if augment and window_hu is None:
            raise ManifestError("augment changes images of unit scale: give window_hu too")
        found = find_examples(
            manifests, layers=layers, certified=certified, heldout_alone=split == "heldout"
        )
        examples = found.train if split == "train" else found.heldout
        if not examples:
            raise ManifestError(f"no {split} row to take; left out: {dict(found.left_out)}")
        self.examples, self.left_out = examples, found.left_out
        self.crop, self.weak, self.reclick, self.seed = crop, weak, reclick, seed
        self.window_hu, self.epoch = window_hu, 0
        self._augmentation: Any = None
        if augment:
            self._augmentation = Augmentation(also={"valid": "nearest"})
        self._margin: Triple = tuple(n // 4 if reclick else 0 for n in crop)  # type: ignore[assignment]
        self._shape: Triple = tuple(  # type: ignore[assignment]
            min(n + 2 * far, whole)
            for n, far, whole in zip(crop, self._margin, VOI_ZYX, strict=True)
        )

    def __len__(self) -> int:
        return len(self.examples)

    def set_epoch(self, epoch: int) -> None:
        """Draw other clicks and changes from now on."""
        self.epoch = operator.index(epoch)

    def row(self, index: int) -> Row:
        """Row of an item, with the columns that training looks at."""
        return self.examples[index].row

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read an item.

        Raises
        ------
        CaseError
            A file is missing, unreadable, or no VOI; or the mask is empty.
        """
        example = self.examples[operator.index(index)]
        whole = read_region(example, self.weak, self._shape)
        place = "/".join(map(str, example.identity)), self.epoch
        click = other_click(whole, self._margin, self.reclick, self.seed, *place)
        region = whole.cut(click, self.crop)
        item = {
            name: torch.from_numpy(channel[None])
            for name, channel in zip(_VOXELS, self._channels(region), strict=True)
        }
        if self._augmentation is not None:
            item = self._augmentation(item, draw(1 << 32, self.seed, "augment", *place))
        row = example.row
        return {
            **item,
            "voi_id": str(row["voi_id"]),
            "lesion_type": str(row["lesion_type"]),
            "supervision": str(row["supervision"]),
        }

    def _channels(self, region: Region) -> NDArray[np.float32]:
        """Image, lesion, known and valid of a region, one after the other in one block of memory.

        Blocks of a smaller size are given back to the system after each item and fetched again
        page by page, which takes as long as the reading.
        """
        marks = region.marks
        channels = np.empty((len(_VOXELS), *marks.shape), np.float32)
        depth = max(1, _SLAB_VOXELS // (marks.shape[1] * marks.shape[2]))
        for z in range(0, len(marks), depth):
            slab = slice(z, z + depth)
            for channel, bit in zip(channels[1:], (LESION, SUPERVISED, VALID), strict=True):
                channel[slab] = (marks[slab] & np.uint8(bit)) != 0
        _put_hu(channels[0], region.hu, (marks & np.uint8(VALID)).view(bool))
        if self.window_hu is not None:
            low, high = self.window_hu
            hu = channels[0]
            np.clip(hu, low, high, out=hu)
            hu -= np.float32((low + high) / 2)
            hu /= np.float32((high - low) / 2)
        return channels


def _put_hu(image: NDArray[np.float32], hu: NDArray[np.int16], valid: NDArray[np.bool_]) -> None:
    """Fill in HU; padding gets the smallest value of the scan, or 0 where all is padding."""
    box = _box_of(valid)
    if box is None:
        np.copyto(image, hu)
        image[~valid] = hu[valid].min()
        return
    scan = hu[box]
    image[box] = scan
    fill_outside(image, box, scan.min() if scan.size else 0)


def _box_of(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Box that a mask is, or None where it is none; an empty one gives an empty box."""
    z, y, x = (int(at) for at in np.unravel_index(int(mask.argmax()), mask.shape))
    edges = mask[z:, y, x], mask[z, y:, x], mask[z, y, x:]
    box = tuple(
        slice(at, at + np.count_nonzero(edge)) for at, edge in zip((z, y, x), edges, strict=True)
    )
    inside = mask[box]
    return box if inside.size == np.count_nonzero(mask) and inside.all() else None
