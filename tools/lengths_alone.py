"""`python -m tools.lengths_alone DIR`: what masks are worth where end points are missing.

DIR holds a folder per lesion with `CT_image.nii.gz` and `CT_mask.nii.gz`, as the IBSI set of 51
soft-tissue sarcomas has them. On the slice that shows most of each lesion, lines are drawn across
its mask; the jury's mask is compared with the whole of it for those lines, for their lengths about
a point, and for the long one alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.measure.lines import Lines
from uls_data.measure.overlap import dice
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.methods import pseudo_mask
from uls_data.sources.measurements.across import axes_at, axes_of_line
from uls_data.voi import hounsfield
from uls_data.volumes import read_volume

_OFF = 0.1
WAYS = ("two lines", "lengths, centre", f"lengths, point off by {_OFF:g} short axes", "one line")


def scores(folder: Path) -> list[float]:
    """Dice of the four ways for one lesion."""
    image = read_volume(folder / "CT_image.nii.gz", folder, ())
    mask = read_volume(folder / "CT_mask.nii.gz", folder, ()).ras > 0
    at = int(mask.sum(axis=(0, 1)).argmax())
    truth: NDArray[Any] = np.asarray(mask[:, :, at])
    hu, _ = hounsfield(image.ras[:, :, at], image.slope, image.intercept)
    x_mm, y_mm, _ = geometry.spacing_mm(image.affine)
    lines = Lines.from_mask(truth)
    assert lines is not None
    long_mm, short_mm = lines.length_mm((x_mm, y_mm))
    point = np.argwhere(truth).mean(axis=0)
    off = point + np.array([_OFF * short_mm / x_mm, 0])
    found = [
        lines.points,
        *(axes_at(hu.astype(np.float64), (x_mm, y_mm), p, long_mm, short_mm) for p in (point, off)),
    ]
    found.append(axes_of_line((x_mm, y_mm), lines.points[:2]))
    slices = (KeySlice(hu, Lines.of(ends), (x_mm, y_mm)) for ends in found)
    return [dice(pseudo_mask("jury", key_slice).mask, truth) for key_slice in slices]


def main(root: str) -> None:
    """Print mean, median and tenth percentile of each way."""
    folders = sorted(path.parent for path in Path(root).glob("*/CT_mask.nii.gz"))
    table = np.array([scores(folder) for folder in folders])
    print(f"{len(table)} lesions: mean, median, tenth percentile of Dice")
    for way, column in zip(WAYS, table.T, strict=True):
        print(
            f"  {way:38}", *(f"{v:.3f}" for v in (column.mean(), *np.percentile(column, [50, 10])))
        )


if __name__ == "__main__":
    main(sys.argv[1])
