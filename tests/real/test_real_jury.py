"""The jury on real CT with human masks, beside the prior it must beat.

lung1 (pyradiomics), the IBSI lung tumour and two IBSI sarcomas; none of them was fitted on.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cc3d
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from uls_data.measure.lines import Lines, jittered
from uls_data.measure.overlap import dice
from uls_data.pseudomask.jury import jury
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import quarter_ellipses

pytestmark = [pytest.mark.real, pytest.mark.slow]

CASES = {
    "lung1": ("pyradiomics-lung1/lung1_image.nrrd", "pyradiomics-lung1/lung1_label.nrrd"),
    "ibsi": (
        "ibsi-ct-phantom/nifti/image/phantom.nii.gz",
        "ibsi-ct-phantom/nifti/mask/mask.nii.gz",
    ),
    "STS_003": ("ibsi-sts/STS_003/CT_image.nii.gz", "ibsi-sts/STS_003/CT_mask.nii.gz"),
    "STS_050": ("ibsi-sts/STS_050/CT_image.nii.gz", "ibsi-sts/STS_050/CT_mask.nii.gz"),
}
DRAWS = 3


def ras(path: Path) -> NDArray[np.float64]:
    if path.suffix == ".nrrd":
        image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
        return sitk.GetArrayFromImage(image).T.astype(np.float64)
    return np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj, dtype=np.float64)


def slices(
    scan: NDArray[np.float64], mask: NDArray[np.float64]
) -> Iterator[tuple[int, KeySlice, NDArray[np.bool_]]]:
    for z in range(scan.shape[2]):
        if (mask[:, :, z] != 0).sum() < 25:
            continue
        labels = cc3d.connected_components((mask[:, :, z] != 0).astype(np.uint8), connectivity=4)
        human = labels == np.bincount(labels.ravel())[1:].argmax() + 1
        lines = Lines.from_mask(human)
        if human.sum() >= 25 and lines is not None:
            hu = np.rint(scan[:, :, z]).astype(np.int16)
            yield z, KeySlice(hu, lines, (1.0, 1.0)), human


def scored(case: str, folder: Path) -> dict[str, tuple[float, float]]:
    """Mean Dice (clean, jittered) of prior and jury over a case's slices."""
    image, mask = (ras(folder / name) for name in CASES[case])
    found: dict[str, tuple[list[float], list[float]]] = {"prior": ([], []), "jury": ([], [])}
    for z, clean, human in slices(image, mask):
        for draw in range(DRAWS + 1):
            key_slice = clean
            if draw:
                random = np.random.default_rng(zlib.crc32(f"{case}/{z}/{draw - 1}".encode()))
                key_slice = replace(clean, lines=jittered(clean.lines, random))
            for name, method in (("prior", quarter_ellipses), ("jury", jury)):
                found[name][draw > 0].append(dice(method(key_slice).mask, human))
    return {name: (float(np.mean(a)), float(np.mean(b))) for name, (a, b) in found.items()}


def test_the_jury_beats_the_prior(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = {case: scored(case, real_data) for case in CASES}
    table = "\ncase      prior clean/jittered   jury clean/jittered\n"
    for case, found in results.items():
        (a, b), (c, d) = found["prior"], found["jury"]
        table += f"{case:9} {a:.4f} {b:.4f}          {c:.4f} {d:.4f}\n"
    with capsys.disabled():
        sys.stdout.write(table)
    prior, ours = (
        np.mean([found[name] for found in results.values()], axis=0) for name in ("prior", "jury")
    )
    assert prior == pytest.approx((0.943, 0.900), abs=0.005)
    assert ours[0] >= prior[0] - 0.002
    assert ours[1] >= prior[1] + 0.010
    for case, found in results.items():
        worse = np.array(found["prior"]) - np.array(found["jury"])
        assert worse.max() <= 0.01, case
