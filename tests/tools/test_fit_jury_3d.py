"""Fitting a network for the jury in 3D: the same command writes the same bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tools import fit_jury_3d
from uls_data.pseudomask.jury import shipped
from uls_data.pseudomask.network import Network
from uls_data.pseudomask.slab import CHANNELS_3D


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two odd patients; two nodules, of which a crop cuts one above, and an empty mask."""
    root = tmp_path_factory.mktemp("data")
    x, y, z = np.ogrid[:48, :48, :9]
    ball = ((x - 24) / 10) ** 2 + ((y - 24) / 8) ** 2 + ((z - 4) / 3) ** 2 <= 1
    pairs = {f"sts/STS_{n:03d}/CT_{{}}": ("image", "mask", ball) for n in (1, 5)}
    for name, mask in (("1_R_1", ball), ("2_R_1", ball[:, :, 3:]), ("3_R_1", ball & False)):
        pairs[f"vois/{{}}/LIDC-IDRI-000{name}"] = ("image", "nodule_mask", mask)
    for place, (image, label, mask) in pairs.items():
        noise = np.random.default_rng(3).normal(0, 10, mask.shape)
        for kind, voxels in ((image, noise + 60 * mask), (label, mask)):
            path = root / f"{place.format(kind)}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels.astype(np.int16), np.eye(4)), path)
    return root / "sts", root / "vois"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_jury_3d, "STEPS", 3)
    monkeypatch.setattr(fit_jury_3d, "MADE_UP", 2)
    few = {name: (2, 3, weight) for name, (_, _, weight) in fit_jury_3d.KINDS.items()}
    monkeypatch.setattr(fit_jury_3d, "KINDS", few)


def run(
    data: tuple[Path, Path], to: Path, monkeypatch: pytest.MonkeyPatch, *more: str
) -> dict[str, bytes]:
    to.mkdir(exist_ok=True)
    for name in ("network.json", "fold-0.json", "fold-1.json"):
        (to / name).write_text(shipped("network.json"))
    given = [str(data[0]), "--nodules", str(data[1]), "--to", str(to), *more]
    monkeypatch.setattr(sys, "argv", ["fit_jury_3d", *given])
    fit_jury_3d.main()
    return {path.name: path.read_bytes() for path in sorted(to.glob("*3d*.json"))}


def test_the_same_command_writes_the_same_bytes(
    data: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = run(data, tmp_path / "one", monkeypatch, "--score")
    assert list(made) == ["fold_3d-0.json", "fold_3d-1.json", "network_3d.json"]
    assert len(set(made.values())) == 3
    network = Network.from_json(made["network_3d.json"].decode())
    assert network.kernels[0].shape[1] == CHANNELS_3D and network.weights[0].any()
    said = capsys.readouterr().out
    for kind, count in (("sarcoma", 2), ("nodule", 1), ("made-up", 2)):
        assert f"{kind:8} 5% ellipsoid" in said and f"({count})" in said
    # Only the nodule that its crop shows whole.
    with np.load(tmp_path / "one" / "nodes_3d.npz") as nodes:
        assert set(nodes["group"][nodes["kind"] == "nodule"]) == {"LIDC-IDRI-0001"}
    # Ended after one fit, it continues with the others.
    other = tmp_path / "other"
    other.mkdir()
    (other / "network_3d.json").write_bytes(made["network_3d.json"])
    assert run(data, other, monkeypatch) == made
