"""Raw archives of KiTS21, LiTS and three tasks of the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.files import gzipped, nifti_bytes, seed_of, write, write_mac_junk, write_nifti
from demo.phantom import (
    Affine,
    LesionSpec,
    Mask,
    Phantom,
    Triple,
    border,
    make_phantom,
    ras_affine,
    store,
)

SHAPE: Triple = (96, 80, 48)
SMALL: Triple = (72, 64, 32)
_KITS_VALUES = (("kidney", 1), ("cyst", 3), ("tumor", 2))  # in painting order: later wins
_KITS_ANNOTATORS = 3


# --- KiTS21 -----------------------------------------------------------------


def make_kits21(root: Path, seed: int) -> list[str]:
    """Write `kits21/data/case_0000N/` with imaging, aggregates and instance files."""
    touching = (
        LesionSpec((0.38, 0.5, 0.5), 7.5),
        LesionSpec(radius_mm=6.0, touches=1),
        LesionSpec((0.7, 0.36, 0.3), 6.0),
        LesionSpec((0.7, 0.62, 0.68), 5.0, contrast_hu=-50),
    )
    small = (LesionSpec((0.3, 0.45, 0.4), 1.0), LesionSpec((0.6, 0.5, 0.55), 9.0))
    one = (LesionSpec((0.5, 0.5, 0.5), 6.0),)
    _kits_case(root, seed, "case_00000", SHAPE, touching, ("tumor", "tumor", "tumor", "cyst"))
    _kits_case(root, seed, "case_00001", SHAPE, small, ("tumor", "tumor"))
    broken = _kits_case(root, seed, "case_00002", SMALL, one, ("tumor",))
    whole = broken.read_bytes()
    write(broken, whole[: len(whole) * 3 // 5])
    _kits_case(root, seed, "case_00003", SMALL, one, ("tumor",))
    return [
        "case_00000: two touching tumours are one component and two instance files; a third "
        "tumour and a cyst lie apart",
        "case_00001: one tumour lies below the size rule",
        "case_00002: imaging.nii.gz is cut short, so the case fails",
        "case_00003: a held-out patient",
        "all: axis 0 runs along the body (IPL), zero origin, sform alone; instance files are "
        "float64, and two of three annotators give the aggregate",
    ]


def _kits_case(
    root: Path,
    seed: int,
    case: str,
    shape: Triple,
    lesions: Sequence[LesionSpec],
    kinds: Sequence[str],
) -> Path:
    """Write one KiTS case; returns the path of its image."""
    case_seed = seed_of(seed, "kits21", case)
    phantom = make_phantom(case_seed, shape, (0.8, 0.8, 2.5), lesions, 150, case)
    rng = np.random.Generator(np.random.PCG64(seed_of(case_seed, "annotators")))
    sx, _, sz = phantom.spacing_mm
    # The origin of KiTS is lost: zero in the stored order of axes, whatever the scan's was.
    affine = np.array([[0, 0, -sx, 0], [0, -sx, 0, 0], [-sz, 0, 0, 0], [0, 0, 0, 1.0]])

    def put(name: str, data: NDArray[Any]) -> Path:
        stored, _ = store(data, phantom.affine(), "IPL")
        path = root / "kits21" / "data" / case / name
        write_nifti(path, stored, affine, codes=False)
        return path

    # The kidney's outline is drawn through its lesions; painting order sorts it out.
    truths: dict[str, list[Mask]] = {"kidney": [phantom.organ == 1], "cyst": [], "tumor": []}
    for number, kind in enumerate(kinds, start=1):
        truths[kind].append(phantom.label_map == number)
    aggregates = {rule: np.zeros(shape, dtype=np.uint8) for rule in ("MAJ", "AND", "OR")}
    for kind, value in _KITS_VALUES:
        for instance, truth in enumerate(truths[kind], start=1):
            drawn = _annotations(rng, truth)
            for annotation, mask in enumerate(drawn, start=1):
                name = f"{kind}_instance-{instance}_annotation-{annotation}.nii.gz"
                put(f"segmentations/{name}", mask.astype(np.float64))
            votes = np.sum(drawn, axis=0)
            aggregates["MAJ"][votes >= 2] = value
            aggregates["AND"][votes == _KITS_ANNOTATORS] = value
            aggregates["OR"][votes >= 1] = value
    for rule, data in aggregates.items():
        put(f"aggregated_{rule}_seg.nii.gz", data)
    return put("imaging.nii.gz", phantom.ct_hu.astype(np.float32))


def _annotations(rng: np.random.Generator, truth: Mask) -> list[Mask]:
    """Outlines that differ along the border, at most one annotator off at each voxel."""
    near = border(truth)
    who = rng.integers(0, 2 * _KITS_ANNOTATORS, truth.shape)
    return [truth ^ (near & (who == annotator)) for annotator in range(_KITS_ANNOTATORS)]


# --- LiTS -------------------------------------------------------------------


def make_lits(root: Path, seed: int) -> list[str]:
    """Write `Training Batch K/volume-N.nii` and `segmentation-N.nii`."""
    several = (
        LesionSpec((0.35, 0.5, 0.5), 8.0),
        LesionSpec((0.6, 0.4, 0.35), 5.0),
        LesionSpec((0.66, 0.6, 0.7), 4.0),
    )
    two = (LesionSpec((0.4, 0.45, 0.45), 7.0), LesionSpec((0.66, 0.55, 0.6), 5.0))
    one = (LesionSpec((0.45, 0.5, 0.5), 7.0),)
    origin = (-171.2, -143.9, -718.4)
    spacing = (0.75, 0.75, 2.0)

    phantom = _lits_scan(seed, 3, SHAPE, spacing, several)
    _lits_case(root, 3, phantom, phantom.affine(origin), "LPS")
    phantom = _lits_scan(seed, 4, SMALL, spacing, one)
    _lits_case(root, 4, phantom, phantom.affine(origin), "RAS")
    # The 3D-IRCADb scans: spacing and origin are lost.
    phantom = _lits_scan(seed, 28, SHAPE, (0.7, 0.7, 1.6), two)
    _lits_case(root, 28, phantom, np.eye(4), "RAS")
    phantom = _lits_scan(seed, 32, SMALL, spacing, ())
    _lits_case(root, 32, phantom, phantom.affine(origin), "RPS")
    phantom = _lits_scan(seed, 53, SHAPE, (0.836, 0.836, 2.5), two)
    shifted_identity = np.eye(4)
    shifted_identity[:3, 3] = 1
    _lits_case(root, 53, phantom, phantom.affine((-190.5, -12.25, -402.0)), "LAS", shifted_identity)
    return [
        "volume-3: normal, in-plane axes stored LP",
        "volume-4: a held-out patient",
        "volume-28: identity affine on both files, so the spacing is not known",
        "volume-32: liver without tumour, so the case is skipped",
        "volume-53: the mask's affine disagrees with the image's on an equal grid; they belong "
        "together index by index",
    ]


def _lits_scan(
    seed: int,
    number: int,
    shape: Triple,
    spacing_mm: tuple[float, float, float],
    lesions: Sequence[LesionSpec],
) -> Phantom:
    name = f"volume-{number}"
    return make_phantom(seed_of(seed, "lits", name), shape, spacing_mm, lesions, 100, name)


def _lits_case(
    root: Path,
    number: int,
    phantom: Phantom,
    affine_ras: Affine,
    codes: str,
    mask_affine: Affine | None = None,
) -> None:
    folder = root / ("Training Batch 1" if number < 28 else "Training Batch 2")
    liver_and_tumour = phantom.organ.copy()
    liver_and_tumour[phantom.label_map > 0] = 2
    image, affine = store(phantom.ct_hu, affine_ras, codes)
    mask, _ = store(liver_and_tumour, affine_ras, codes)
    write_nifti(folder / f"volume-{number}.nii", image, affine)
    mask_affine = affine if mask_affine is None else mask_affine
    write_nifti(folder / f"segmentation-{number}.nii", mask, mask_affine)


# --- Medical Segmentation Decathlon -----------------------------------------


@dataclass(frozen=True)
class _Task:
    """One task of the Decathlon and how its files are stored."""

    source: str
    folder: str
    title: str
    labels: Mapping[str, str]
    lesion_value: int
    organ_hu: int
    codes: str
    origin_mm: tuple[float, float, float]

    def scan(self, seed: int, case: str, shape: Triple, lesions: Sequence[LesionSpec]) -> Phantom:
        spacing = (0.8, 0.8, 2.5)
        case_seed = seed_of(seed, self.source, case)
        return make_phantom(case_seed, shape, spacing, lesions, self.organ_hu, case)

    def image(self, root: Path, part: str, phantom: Phantom) -> None:
        affine = ras_affine(phantom.spacing_mm, self.origin_mm)
        stored, stored_affine = store(phantom.ct_hu, affine, self.codes)
        path = root / self.folder / part / f"{phantom.name}.nii.gz"
        write_nifti(path, stored, stored_affine)

    def label(self, phantom: Phantom) -> tuple[NDArray[Any], Affine]:
        mask = np.zeros(phantom.label_map.shape, dtype=np.uint8)
        if self.lesion_value == 2:
            mask[phantom.organ == 1] = 1
        mask[phantom.label_map > 0] = self.lesion_value
        return store(mask, ras_affine(phantom.spacing_mm, self.origin_mm), self.codes)

    def put_label(self, root: Path, name: str, label: NDArray[Any], affine: Affine) -> None:
        path = root / self.folder / "labelsTr" / f"{name}.nii.gz"
        write(path, gzipped(nifti_bytes(label, affine)))

    def finish(self, root: Path, train: Sequence[str], test: Sequence[str]) -> None:
        """Write dataset.json, misspelt as the real one, and what macOS left behind."""
        content = {
            "name": self.title,
            "description": "Made-up scans in the layout of this task",
            "reference": "none",
            "licence": "CC-BY-SA 4.0",
            "relase": "1.0 04/05/2018",
            "tensorImageSize": "3D",
            "modality": {"0": "CT"},
            "labels": dict(self.labels),
            "numTraining": len(train),
            "numTest": len(test),
            "training": [
                {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"}
                for n in train
            ],
            "test": [f"./imagesTs/{n}.nii.gz" for n in test],
        }
        folder = root / self.folder
        write(folder / "dataset.json", json.dumps(content, indent=1).encode())
        write_mac_junk(folder, ("dataset.json",))
        write_mac_junk(folder / "imagesTr", (f"{train[0]}.nii.gz",))
        write_mac_junk(folder / "labelsTr", (f"{train[0]}.nii.gz",))
        write_mac_junk(folder / "imagesTs", (f"{test[0]}.nii.gz",))


def make_mdsc_lung(root: Path, seed: int) -> list[str]:
    """Write `Task06_Lung`: value 1 is cancer."""
    task = _Task(
        "mdsc_lung", "Task06_Lung", "Lung", {"0": "background", "1": "cancer"}, 1, -800, "LAS",
        (-180.5, -201.25, -655.0),
    )  # fmt: skip
    tiny_first = (
        LesionSpec((0.3, 0.5, 0.4), single_voxel=True, contrast_hu=800),
        LesionSpec((0.36, 0.4, 0.6), 1.2, contrast_hu=800),
        LesionSpec((0.6, 0.5, 0.5), 7.0, contrast_hu=830),
    )
    one = (LesionSpec((0.5, 0.45, 0.5), 6.0, contrast_hu=830),)
    for case, shape, lesions in (
        ("lung_001", SHAPE, tiny_first),
        ("lung_005", SMALL, one),
        ("lung_014", SMALL, one),
    ):
        phantom = task.scan(seed, case, shape, lesions)
        task.image(root, "imagesTr", phantom)
        label, affine = task.label(phantom)
        task.put_label(root, case, label[..., 1:] if case == "lung_005" else label, affine)
    task.image(root, "imagesTs", task.scan(seed, "lung_002", SMALL, one))
    task.finish(root, ("lung_001", "lung_005", "lung_014"), ("lung_002",))
    return [
        "lung_001: components 1 and 2 lie below the size rule, so its lesion is number 3",
        "lung_005: the label has one slice fewer than the image, so the case fails",
        "lung_014: a held-out patient",
        "lung_002: a test image without label",
        "names that start with . are to be passed over",
    ]


def make_mdsc_pancreas(root: Path, seed: int) -> list[str]:
    """Write `Task07_Pancreas`: value 1 is pancreas, 2 is cancer; the origin is lost."""
    task = _Task(
        "mdsc_pancreas", "Task07_Pancreas", "Pancreas",
        {"0": "background", "1": "pancreas", "2": "cancer"}, 2, 90, "RAS", (0.0, 0.0, 0.0),
    )  # fmt: skip
    one = (LesionSpec((0.5, 0.5, 0.5), 7.0),)
    split = (LesionSpec((0.4, 0.5, 0.45), 6.0), LesionSpec((0.66, 0.5, 0.6), 5.0))
    for case, shape, lesions in (
        ("pancreas_001", SHAPE, split),
        ("pancreas_005", SMALL, one),
        ("pancreas_010", SMALL, one),
    ):
        phantom = task.scan(seed, case, shape, lesions)
        task.image(root, "imagesTr", phantom)
        label, affine = task.label(phantom)
        task.put_label(root, case, label[..., None] if case == "pancreas_010" else label, affine)
    task.image(root, "imagesTs", task.scan(seed, "pancreas_002", SMALL, one))
    task.finish(root, ("pancreas_001", "pancreas_005", "pancreas_010"), ("pancreas_002",))
    return [
        "pancreas_001: value 2 is two components",
        "pancreas_005: a held-out patient",
        "pancreas_010: the label has a trailing axis of length 1",
    ]


def make_mdsc_colon(root: Path, seed: int) -> list[str]:
    """Write `Task10_Colon`: value 1 is cancer, stored as float32."""
    task = _Task(
        "mdsc_colon", "Task10_Colon", "Colon", {"0": "background", "1": "colon cancer primaries"},
        1, 60, "LAS", (-150.0, -170.5, -480.0),
    )  # fmt: skip
    one = (LesionSpec((0.5, 0.55, 0.5), 8.0),)
    for case in ("colon_001", "colon_007", "colon_012"):
        phantom = task.scan(seed, case, SMALL, one)
        if case != "colon_012":
            task.image(root, "imagesTr", phantom)
        label, affine = task.label(phantom)
        task.put_label(root, case, label.astype(np.float32), affine)
    task.image(root, "imagesTs", task.scan(seed, "colon_002", SMALL, one))
    task.finish(root, ("colon_001", "colon_007", "colon_012"), ("colon_002",))
    return [
        "all: labels are float32 with whole values",
        "colon_007: a held-out patient",
        "colon_012: the label has no image, so the case fails",
    ]
