"""Fitting a network and a calibration for the jury: the same command writes the same bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tools import fit_jury
from uls_data.pseudomask.network import Network
from uls_data.pseudomask.quality import Quality


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five odd patients, one of them held out; even ones cannot be opened."""
    folder = tmp_path_factory.mktemp("sts")
    x, y, z = np.ogrid[:48, :48, :5]
    for number in (1, 3, 5, 7, 9):
        mask = ((x - 24) / (9 + number)) ** 2 + ((y - 24) / 8) ** 2 + ((z - 2) / 3) ** 2 <= 1
        noise = np.random.default_rng(number).normal(0, 10, mask.shape)
        place = folder / f"STS_{number:03d}"
        place.mkdir()
        for name, voxels in (("image", noise + 60 * mask), ("mask", mask)):
            image = nibabel.Nifti1Image(voxels.astype(np.int16), np.eye(4))
            nibabel.save(image, place / f"CT_{name}.nii.gz")
    for number in (2, 4):
        place = folder / f"STS_{number:03d}"
        place.mkdir()
        (place / "CT_mask.nii.gz").write_bytes(b"not to be read")
    return folder


@pytest.fixture(scope="module")
def vois(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nodules of two patients; one crop cuts its nodule, one mask is empty."""
    folder = tmp_path_factory.mktemp("vois")
    x, y, z = np.ogrid[:40, :40, :4]
    for name, at, radius in (
        ("LIDC-IDRI-0001_R_1", 20, 6),
        ("LIDC-IDRI-0001_R_2", 7, 6),
        ("LIDC-IDRI-0002_R_1", 20, 7),
        ("LIDC-IDRI-0003_R_1", 20, -1),
    ):
        mask = (x - at) ** 2 + (y - 20) ** 2 + 0 * z <= radius * abs(radius)
        for kind, voxels in (("image", 800 * mask - 800), ("nodule_mask", mask)):
            (folder / kind).mkdir(exist_ok=True)
            image = nibabel.Nifti1Image(voxels.astype(np.int16), np.eye(4))
            nibabel.save(image, folder / kind / f"{name}.nii.gz")
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_jury, "STEPS", 3)
    monkeypatch.setattr(fit_jury, "PHANTOMS", 4)
    for name in ("FIT", "QUALITY"):
        noise, _ = getattr(fit_jury, name)
        monkeypatch.setattr(fit_jury, name, (noise[:2], 2))  # slices of each patient


def run(data: Path, vois: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    given = ["fit_jury", str(data), "--nodules", str(vois), "--to", str(to)]
    monkeypatch.setattr(sys, "argv", given)
    fit_jury.main()
    return {path.name: path.read_bytes() for path in sorted(to.glob("*.json"))}


def test_the_same_command_writes_the_same_bytes(
    data: Path, vois: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(data, vois, tmp_path / "one", monkeypatch)
    assert list(made) == ["fold-0.json", "fold-1.json", "network.json", "quality.json"]
    assert len({made[name] for name in made}) == 4
    network = Network.from_json(made["network.json"].decode())
    assert np.isfinite(network.weights[0]).all() and network.weights[0].any()
    quality = Quality.from_json(made["quality.json"].decode())
    assert "4 soft-tissue sarcomas" in made["quality.json"].decode()
    assert np.isfinite(quality.dice).all()
    # Ended after two fits, it continues with the third.
    other = tmp_path / "other"
    other.mkdir()
    for name in ("fold-0.json", "network.json"):
        (other / name).write_bytes(made[name])
    assert run(data, vois, other, monkeypatch) == made


def test_learned_from_are_odd_patients_but_the_one_that_is_scored_on(
    data: Path, tmp_path: Path
) -> None:
    assert fit_jury.cases_of(data) == ["STS_001", "STS_005", "STS_007", "STS_009"]
    lesions = fit_jury.lesions_of("STS_005", data, (0.0, 0.05), 3)
    assert len(lesions) == 6
    again = fit_jury.lesions_of("STS_005", data, (0.0, 0.05), 3)
    assert [a.crop.lines for a in lesions] == [b.crop.lines for b in again]
    assert lesions[0].crop.lines != lesions[1].crop.lines
    with pytest.raises(SystemExit, match="odd patients"):
        fit_jury.cases_of(tmp_path)


def test_nodules_that_their_crop_cuts_are_left_out(vois: Path) -> None:
    found = list(fit_jury.nodules_of(vois))
    assert {lesion.case for lesion in found} == {"LIDC-IDRI-0001", "LIDC-IDRI-0002"}
    first = [lesion for lesion in found if lesion.case == "LIDC-IDRI-0001"]
    assert len(first) == 8  # four slices, clean and noisy lines, of one nodule
    shares = fit_jury._shares(["STS_001", "STS_001", "STS_005", *(x.case for x in found)])
    assert shares[:3].tolist() == [0.25, 0.25, 0.5]
    assert shares[3:].sum() == pytest.approx(fit_jury.NODULES_SHARE)
