"""Made-up raw archives, one for each source, in the layout its users download.

`make_archives` writes them all. A source's maker writes below the folder that a
user would give as `--raw` and returns remarks: what is odd, and what must come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.challenges import (
    SHAPE,
    SMALL,
    make_kits21,
    make_lits,
    make_mdsc_colon,
    make_mdsc_lung,
    make_mdsc_pancreas,
)
from demo.clinical import (
    make_lidc_idri,
    make_lndb,
    make_nih_ln_abd,
    make_nih_ln_med,
    make_own_dicom,
)
from demo.crowds import make_ccc18
from demo.files import (
    recipe_text,
    seed_of,
    set_times,
    write,
    write_itk,
    write_mac_junk,
    write_nifti,
)
from demo.hospital import make_hospital, make_hospital_readers
from demo.measured import make_deeplesion
from demo.phantom import (
    Affine,
    LesionSpec,
    Mask,
    Phantom,
    Spacing,
    Triple,
    grown,
    make_phantom,
    store,
    tilted,
)

_OWN_RECIPE = recipe_text(
    "own",
    "A user's own lesions",
    "A recipe for the made-up folder beside it; `recipes/template.yaml` explains each line.",
    """\
reader:
  name: volume_pairs
  layouts:
    - name: two_folders
      image: "images/{case}{ext}"
      mask: "masks/{case}{ext}"
  patient: "(.*)_visit[0-9]+"

instances: {rule: components, values: [1], connectivity: 6, keep: all}
minimum_size: {measure: inertia_major_vox, at_least: 5}
lesion_type: soft_tissue
voi_name: "{case}_lesion_{lesion:02d}_sample_{sample}"
quirks: [image_affine_wins, float_mask, trailing_axis]
heldout_patients: ["p05"]
""",
)


def make_archives(root: Path, seed: int = 0, only: Sequence[str] | None = None) -> dict[str, Path]:
    """Write a made-up raw archive of every source.

    Parameters
    ----------
    root : Path
        Each source gets a folder of its own in it, named after the source.
    seed : int
        The same seed gives the same bytes and times, whatever else is made.
    only : sequence of str, optional
        Names of `SOURCES` to write; None writes all.

    Returns
    -------
    dict of str to Path
        The folder of each source that was written, as `--raw` takes it.
    """
    names = list(SOURCES) if only is None else list(only)
    unknown = [name for name in names if name not in SOURCES]
    if unknown:
        raise ValueError(f"no made-up archive of {unknown[0]!r}; there are {', '.join(SOURCES)}")
    folders = {}
    for name in names:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        SOURCES[name](folder, seed)
        set_times(folder)
        folders[name] = folder
    return folders


# --- The sets that ULS23 introduced: flat imagesTr and labelsTr ---------------


def make_radboudumc_bone(root: Path, seed: int) -> list[str]:
    """Write `imagesTr/bone_0000N.nii.gz` and their labels: value 1 is lesion."""
    many = (
        LesionSpec((0.28, 0.5, 0.5), 5.0),
        LesionSpec((0.45, 0.3, 0.25), 4.0),
        LesionSpec((0.45, 0.7, 0.4), 4.5),
        LesionSpec((0.5, 0.5, 0.65), 6.0),
        LesionSpec((0.72, 0.4, 0.4), 5.0),
        LesionSpec((0.79, 0.6, 0.6), 1.0),
        LesionSpec((0.55, 0.45, 1.0), 7.0, at_edge=True),
    )
    # Slices are so thick that only the one through the lesion's centre is hit.
    flat = (LesionSpec((0.4, 0.5, 0.5), 3.2), LesionSpec((0.65, 0.5, 0.4), single_voxel=True))
    one = (LesionSpec((0.5, 0.5, 0.5), 6.0), LesionSpec((0.3, 0.6, 0.6), 4.0))
    cases = (
        ("bone_00002", SHAPE, (0.8, 0.8, 2.5), many),
        ("bone_00030", SMALL, (0.8, 0.8, 2.0), one),
        ("bone_00041", SMALL, (0.7, 0.95, 3.0), one),
        ("bone_00057", SMALL, (0.6, 0.6, 8.0), flat),
    )
    for case, shape, spacing, lesions in cases:
        phantom = _scan("radboudumc_bone", seed, case, shape, spacing, lesions, 350)
        _flat_case(root, phantom, phantom.label_map > 0, "LPS", (-120.0, -98.5, -1012.0))
    return [
        "bone_00002: seven lesions, one of them cut by the scan's top, one below the size rule",
        "bone_00030: a held-out patient",
        "bone_00041: spacing differs between x and y",
        "bone_00057: a lesion on a single slice, and one of a single voxel",
    ]


def make_radboudumc_pancreas(root: Path, seed: int) -> list[str]:
    """Write `imagesTr/diag_pancreas_000N.nii.gz` and their labels: value 1 is lesion."""
    large = (LesionSpec((0.5, 0.5, 0.5), 13.0),)
    one = (LesionSpec((0.45, 0.5, 0.5), 8.0),)
    for case, shape, lesions in (
        ("diag_pancreas_0004", SHAPE, large),
        ("diag_pancreas_0047", SMALL, one),
        ("diag_pancreas_1002", SMALL, one),
    ):
        phantom = _scan("radboudumc_pancreas", seed, case, shape, (0.7, 0.7, 2.0), lesions, 90)
        _flat_case(root, phantom, phantom.label_map > 0, "LPS", (-88.25, -140.0, -903.5))
    return ["diag_pancreas_0047: a held-out patient"]


def make_deeplesion3d(root: Path, seed: int) -> list[str]:
    """Write `imagesTr/PPPPPP_SS_RR_KKK.nii.gz` and their labels, RAS with zero origin."""
    one = (LesionSpec((0.5, 0.5, 0.5), 7.5),)
    far = (*one, LesionSpec((0.25, 0.5, 0.4), single_voxel=True))
    thick: Spacing = (0.8, 0.8, 5.0)
    for case, shape, spacing, lesions in (
        ("000010_02_02_100", SHAPE, (0.7, 0.7, 1.0), far),
        ("000102_01_01_045", (72, 64, 24), thick, one),
        ("000431_03_04_018", (72, 64, 24), thick, one),
    ):
        phantom = _scan("deeplesion3d", seed, case, shape, spacing, lesions, 90)
        mask = phantom.label_map > 0
        if case != "000102_01_01_045":
            mask |= _corner_voxel(phantom.label_map == 1)
        _flat_case(root, phantom, mask, "RAS", (0.0, 0.0, 0.0))
    return [
        "000010_02_02_100: stray voxels before (component 1) and after the lesion (component 2), "
        "the latter touching it by a corner",
        "000102_01_01_045: a held-out patient",
        "000431_03_04_018: one stray voxel that touches the lesion by a corner",
    ]


def _scan(
    source: str,
    seed: int,
    case: str,
    shape: Triple,
    spacing_mm: Spacing,
    lesions: Sequence[LesionSpec],
    organ_hu: int,
) -> Phantom:
    return make_phantom(seed_of(seed, source, case), shape, spacing_mm, lesions, organ_hu, case)


def _flat_case(root: Path, phantom: Phantom, mask: Mask, codes: str, origin_mm: Spacing) -> None:
    affine_ras = phantom.affine(origin_mm)
    image, affine = store(phantom.ct_hu, affine_ras, codes)
    label, _ = store(mask.astype(np.uint8), affine_ras, codes)
    write_nifti(root / "imagesTr" / f"{phantom.name}.nii.gz", image, affine)
    write_nifti(root / "labelsTr" / f"{phantom.name}.nii.gz", label, affine)


def _corner_voxel(mask: Mask) -> Mask:
    """One voxel on the high-x side that shares an edge, but no face, with a mask."""
    diagonal = np.zeros_like(mask)
    diagonal[1:, 1:] = mask[:-1, :-1]
    found = np.argwhere(diagonal & ~grown(mask))[-1]
    result = np.zeros_like(mask)
    result[tuple(found)] = True
    return result


# --- A user's own folder ------------------------------------------------------


def make_own(root: Path, seed: int) -> list[str]:
    """Write `images/` and `masks/` in mixed formats and orientations, and `own.yaml`."""
    one = (LesionSpec((0.5, 0.5, 0.5), 6.0),)
    two = (LesionSpec((0.35, 0.5, 0.5), 5.0), LesionSpec((0.65, 0.5, 0.5), 6.0))
    origin: Spacing = (-31.5, 12.75, 804.0)

    def scan(case: str, lesions: Sequence[LesionSpec]) -> tuple[Phantom, Affine]:
        phantom = _scan("own", seed, case, (64, 56, 32), (0.9, 0.9, 2.0), lesions, 90)
        return phantom, phantom.affine(origin)

    phantom, affine = scan("p01_visit1", two)
    metal = phantom.ct_hu.astype(np.int32)
    metal[20:23, 27:29, 10:14] = 40_000
    _put(root / "images" / "p01_visit1.nrrd", metal, affine, "LPS")
    _put(root / "masks" / "p01_visit1.nrrd", _mask(phantom), affine, "LPS")

    phantom, affine = scan("p02_visit1", two)
    _put(root / "images" / "p02_visit1.mha", phantom.ct_hu.astype(np.float32), affine, "SRA")
    _put(root / "masks" / "p02_visit1.nii", _mask(phantom), affine, "PIR")

    phantom, affine = scan("p03_visit1", one)
    affine = tilted(affine, 5.0)
    _put(root / "images" / "p03_visit1.mhd", phantom.ct_hu, affine, "LPS")
    _put(root / "masks" / "p03_visit1.mha", _mask(phantom), affine, "LPS")

    phantom, affine = scan("p04_visit1", one)
    phases = np.stack([phantom.ct_hu, phantom.ct_hu + 15], axis=-1)
    write_nifti(root / "images" / "p04_visit1.nii", phases, affine)
    _put(root / "masks" / "p04_visit1.nii", _mask(phantom), affine, "RAS")

    phantom, affine = scan("p05_visit1", one)
    _put(root / "images" / "p05_visit1.nii", phantom.ct_hu, affine, "LAI")
    _put(root / "masks" / "p05_visit1.mha", _mask(phantom), affine, "LAI")

    phantom, affine = scan("p05_visit2", ())
    _put(root / "images" / "p05_visit2.nii", phantom.ct_hu, affine, "RAS")
    _put(root / "masks" / "p05_visit2.nrrd", _mask(phantom), affine, "RAS")

    write(root / "own.yaml", _OWN_RECIPE.encode())
    write_mac_junk(root / "images", ())
    return [
        "own.yaml: the recipe of this folder",
        "p01_visit1: int32 with metal of 40000 HU, beyond int16",
        "p02_visit1: float32 with whole HU; image stored SRA, mask PIR, one geometry",
        "p03_visit1: tilted by 5 degrees, .mhd with .raw",
        "p04_visit1: a 4-D image of two phases, so the case fails",
        "p05_visit1, p05_visit2: one held-out patient; the second mask is empty and is skipped",
    ]


def _mask(phantom: Phantom) -> NDArray[np.uint8]:
    return (phantom.label_map > 0).astype(np.uint8)


def _put(path: Path, data: NDArray[Any], affine_ras: Affine, codes: str) -> None:
    stored, affine = store(data, affine_ras, codes)
    if path.suffix == ".nii":
        write_nifti(path, stored, affine)
    else:
        write_itk(path, stored, affine)


SOURCES: dict[str, Callable[[Path, int], list[str]]] = {
    "kits21": make_kits21,
    "lits": make_lits,
    "mdsc_lung": make_mdsc_lung,
    "mdsc_pancreas": make_mdsc_pancreas,
    "mdsc_colon": make_mdsc_colon,
    "radboudumc_bone": make_radboudumc_bone,
    "radboudumc_pancreas": make_radboudumc_pancreas,
    "deeplesion3d": make_deeplesion3d,
    "nih_ln_abd": make_nih_ln_abd,
    "nih_ln_med": make_nih_ln_med,
    "lidc_idri": make_lidc_idri,
    "lndb": make_lndb,
    "deeplesion": make_deeplesion,
    "ccc18": make_ccc18,
    "own": make_own,
    "own_dicom": make_own_dicom,
    "hospital": make_hospital,
    "hospital_readers": make_hospital_readers,
}
"""Maker of each source's archive: `make(root, seed)` writes below `root`, gives remarks."""
