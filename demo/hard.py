"""Hard lesions: oblique, lobed, partly destroyed, touching similar tissue or a neighbour.

A scan has two lesions that are annotated or measured. Their contrast is one and a half to two and
a half times the noise; two of three lie against the organ, which is as bright as the lesion, and
three of four are touched by another lesion that nobody asks for. What the lines on one slice say
of such a lesion is little: their ellipsoid reaches a Dice of 0.7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.files import recipe_text, seed_of, write, write_nifti
from demo.growth import aslant
from demo.measured import measure, slice_files, table_bytes, table_row
from demo.phantom import BODY_HU, LesionSpec, Phantom, make_phantom
from uls_data.manifest.by_axis import origin_of
from uls_data.manifest.parquet import iterate_rows
from uls_data.measure.lines import jittered
from uls_data.nifti_writer import nifti_gz
from uls_data.voi import VOI_SHAPE

_SHAPE = (176, 96, 32)
_SPACING = (0.9, 0.9, 2.5)
# Noise and texture together: 11.7 HU.
_CONTRAST_HU = (18, 30)
_READER_SHARE = 0.02
_FIRST_SLICE = 11
_RECIPE = recipe_text(
    "hard",
    "Hard lesions with full masks",
    "Hard made-up lesions with full masks; `recipes/template.yaml` explains each line.",
    """\
reader:
  name: volume_pairs
  layouts:
    - name: two_folders
      image: "images/{case}.nii"
      mask: "masks/{case}.nii"
  patient: "(.*)"
instances: {rule: components, values: [1], connectivity: 6, keep: all}
minimum_size: {measure: inertia_major_vox, at_least: 5}
lesion_type: soft_tissue
voi_name: "{case}_lesion_{lesion:02d}_sample_{sample}"
quirks: []
heldout_patients: [HELDOUT]
""",
)


@dataclass(frozen=True)
class HardScan:
    """A scan and the numbers of its lesions that are annotated or measured."""

    phantom: Phantom
    lesions: tuple[int, ...]

    def mask(self, lesion: int) -> NDArray[np.bool_]:
        """Voxels of a lesion."""
        found: NDArray[np.bool_] = self.phantom.label_map == lesion
        return found

    @property
    def annotated(self) -> NDArray[np.uint8]:
        """All that is annotated, as 1."""
        return np.isin(self.phantom.label_map, self.lesions).astype(np.uint8)


def make_hard(root: Path, seed: int, train: int, heldout: int) -> None:
    """Write `images/`, `masks/` and `hard.yaml`: patients with full masks, some held out."""
    names = [f"t{n:03d}" for n in range(train)] + [f"h{n:03d}" for n in range(heldout)]
    for name in names:
        scan = scan_of(seed, name)
        affine = scan.phantom.affine()
        write_nifti(root / "images" / f"{name}.nii", scan.phantom.ct_hu, affine)
        write_nifti(root / "masks" / f"{name}.nii", scan.annotated, affine)
    held = ", ".join(f'"{name}"' for name in names[train:])
    write(root / "hard.yaml", _RECIPE.replace("HELDOUT", held).encode())


def make_hard_weak(root: Path, seed: int, patients: int) -> None:
    """Write DeepLesion's layout: the same kind of lesions, measured by a reader, not annotated."""
    rows = []
    for name, scan in _weak_scans(seed, patients):
        random = np.random.Generator(np.random.PCG64(seed_of(seed, "reader", name)))
        for lesion in scan.lesions:
            mask = scan.mask(lesion)
            z = int(mask.sum(axis=(0, 1)).argmax())
            lines = jittered(measure(mask[:, :, z]), random, _READER_SHARE)
            key_slice = _FIRST_SLICE + _SHAPE[2] - 1 - z
            rows.append(
                table_row(
                    name,
                    key_slice,
                    lines,
                    _SHAPE,
                    _FIRST_SLICE,
                    "0.9, 0.9, 2.5",
                    Coarse_lesion_type="7",
                    DICOM_windows="-160, 240",
                )
            )
        for at, data in slice_files(scan.phantom.ct_hu, _FIRST_SLICE).items():
            write(root / "Images_png" / name / f"{at:03d}.png", data)
    write(root / "DL_info.csv", table_bytes(rows))


def write_truth(manifest: Path, out: Path, seed: int, patients: int) -> int:
    """Write what the measured lesions are in truth, as labels of the VOIs; returns how many."""
    # In the order of the table's rows, which `source_lesion_id` counts from 1.
    lesions = [(scan, lesion) for _, scan in _weak_scans(seed, patients) for lesion in scan.lesions]
    count = 0
    for row in iterate_rows(manifest):
        if row["status"] != "ok" or row["layer"] != "jury":
            continue
        scan, lesion = lesions[int(str(row["source_lesion_id"]).removeprefix("row-")) - 1]
        mask = scan.mask(lesion)
        voi = np.zeros(VOI_SHAPE, np.uint8)
        start = [at for at in origin_of(row) if at is not None]
        low = [max(0, at) for at in start]
        high = [min(n, at + m) for n, at, m in zip(mask.shape, start, VOI_SHAPE, strict=True)]
        inside = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        voi[inside] = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        affine = np.array(row["affine"]).reshape(4, 4)
        write(out / f"{row['voi_id']}.nii.gz", nifti_gz(voi, affine))
        count += 1
    return count


def _weak_scans(seed: int, patients: int) -> Iterator[tuple[str, HardScan]]:
    # DeepLesion has no patients beyond 4427, so none of these is held out anywhere.
    for n in range(patients):
        name = f"{5001 + n:06d}_01_01"
        yield name, scan_of(seed, name)


def scan_of(seed: int, name: str) -> HardScan:
    """Scan of a patient."""
    own = seed_of(seed, "hard", name)
    random = np.random.Generator(np.random.PCG64(own))
    contrast = int(random.integers(_CONTRAST_HU[0], _CONTRAST_HU[1] + 1))
    specs: list[LesionSpec] = []
    lesions = []
    for side in (0, 1):
        radius = float(random.uniform(6.0, 11.0))
        # The organ's border lies at 0.2 and 0.8 of the scan's width, the body's at 0.04 and 0.96.
        grown_on = bool(random.integers(3))
        away = random.uniform(0.0, 0.03) if grown_on else random.uniform(0.06, 0.08)
        x = (0.2 - away) if side == 0 else (0.8 + away)
        y, z = random.uniform(0.42, 0.58), random.uniform(0.42, 0.58)
        specs.append(LesionSpec((x, y, z), radius, contrast, form=aslant))
        lesions.append(len(specs))
        if random.integers(4):
            specs.append(LesionSpec((x, y, z), radius * 0.9, contrast, touches=len(specs)))
    phantom = make_phantom(own, _SHAPE, _SPACING, specs, BODY_HU + contrast, name)
    # Inside the organ a lesion is as bright as the organ: there only its shape can tell.
    phantom.ct_hu[(phantom.organ > 0) & (phantom.label_map > 0)] -= contrast
    return HardScan(phantom, tuple(lesions))
