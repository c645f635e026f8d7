"""`uls-data audit` on files: one scan under two names is found, flagged, and honoured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import uls_data
from uls_data.cli import cli
from uls_data.errors import ManifestError, SourceError
from uls_data.io import sha256_voxels
from uls_data.manifest import write_manifest
from uls_data.manifest.row import Row


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["audit", *map(str, arguments)], standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return int(done.return_value or 0), done.stdout


def write(out: Path, source: str, case: str, image: NDArray[np.int16], **changes: Any) -> Row:
    """One small VOI with a ball as mask, and its row."""
    x, y, z = np.ogrid[:64, :64, :48]
    mask = (x - 32) ** 2 + (y - 32) ** 2 + (z - 24) ** 2 <= len(case) * 50
    name = f"{case}_lesion_01_sample_0"
    row: Row = {"source": source, "case_id": case, "patient_id": case, "lesion_index": 1}
    for kind, voxels in (("image", image), ("label", mask.astype(np.uint8))):
        path = out / source / f"{kind}s" / f"{name}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
        row[f"{kind}_path"] = f"{source}/{kind}s/{name}.nii"
        row[f"{kind}_voxels_sha256"] = sha256_voxels(voxels)
    row |= {f"spacing_{axis}_mm": 1.0 for axis in "xyz"}
    row |= {"sample_index": 0, "voi_id": name, "layer": "annotated", "status": "ok", **changes}
    return {"split": "train", "mask_voxels": int(mask.sum()), **row}


def noise(seed: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).normal(0, 20, (64, 64, 48)).astype(np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source s with scans a (held out) and bb; source t with a again, mirrored, cut and padded."""
    out = tmp_path_factory.mktemp("audit")
    again = np.pad(noise(1)[::-1, 20:], ((0, 0), (0, 20), (0, 0)), constant_values=-3000)
    rows = [write(out, "s", "a", noise(1), split="heldout"), write(out, "s", "bb", noise(2))]
    write_manifest(rows, out / "manifest" / "s.parquet")
    other = write(out, "t", "ccc", again, pad_value_hu=-3000)
    write_manifest([other], out / "manifest" / "t.parquet")
    return out


def test_one_scan_under_two_names(folder: Path, tmp_path: Path) -> None:
    assert uls_data.audit(folder).findings == []
    seen: list[int] = []
    to = tmp_path / "manifest" / "audited.parquet"
    report = uls_data.audit(
        folder, voxels=True, workers=0, out=to, started=seen.append, progress=seen.append
    )
    assert seen == [3, 1, 1, 1]
    (finding,) = report.findings
    assert (finding.check, finding.rows, finding.leak) == ("same_scan", (0, 2), True)
    assert [report.rows[number]["voi_id"] for number in report.training] == [
        "ccc_lesion_01_sample_0"
    ]
    frame = uls_data.load_manifest(to).set_index("case_id")
    assert [list(flags) for flags in frame["qc_flags"]] == [
        ["leak_same_scan"],
        [],
        ["leak_same_scan"],
    ]
    for path in frame["image_path"]:
        assert (tmp_path / path).is_file()
    # The flags of an earlier audit give way to those of this one.
    uls_data.audit(to, out=to)
    assert [len(flags) for flags in uls_data.load_manifest(to)["qc_flags"]] == [0, 0, 0]


def test_command(folder: Path, tmp_path: Path) -> None:
    code, text = run(folder)
    assert code == 0 and "Nothing leaks." in text
    manifests = [folder / "manifest" / f"{source}.parquet" for source in "st"]
    code, text = run(*manifests, "--voxels", "--workers", 0, "--out", tmp_path / "m" / "o.parquet")
    assert code == 1 and "same_scan" in text and "t ccc_lesion_01_sample_0 annotated" in text
    code, text = run(tmp_path / "m" / "o.parquet", "--json")
    assert (code, text) == (0, "")
    code, text = run(folder, "--voxels", "--json")
    (record,) = [json.loads(line) for line in text.splitlines()]
    assert (record["check"], record["leak"]) == ("same_scan", True)
    assert [row["split"] for row in record["rows"]] == ["heldout", "train"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    rows = [write(tmp_path, "s", name, noise(3)) for name in ("a", "b", "c")]
    (tmp_path / rows[0]["image_path"]).write_bytes(b"no image")
    (tmp_path / rows[1]["label_path"]).unlink()
    (tmp_path / rows[2]["image_path"]).unlink()
    write_manifest(rows, tmp_path / "manifest" / "s.parquet")
    report = uls_data.audit(tmp_path, voxels=True, workers=0)
    assert [number for number, _ in report.unread] == [0, 1, 2]
    assert all(str(tmp_path) not in problem for _, problem in report.unread)
    code, _ = run(tmp_path, "--voxels", "--workers", 0)
    assert code == 1


def test_wrong_use(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="absent"):
        uls_data.audit(tmp_path / "absent")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SourceError, match="cannot be written"):
        uls_data.audit(folder, out=tmp_path / "file" / "m.parquet")


def test_sources_whose_common_scans_no_name_tells(tmp_path: Path) -> None:
    for source in ("mdsc_lung", "nsclc_radiogenomics"):
        rows = [write(tmp_path, source, f"{source}_1", noise(len(source)))]
        write_manifest(rows, tmp_path / "manifest" / f"{source}.parquet")
    code, text = run(tmp_path)
    assert code == 0 and "mdsc_lung and nsclc_radiogenomics share scans" in text
    _, text = run(tmp_path, "--json")
    (told,) = [json.loads(line) for line in text.splitlines()]
    assert told["sources"] == ["mdsc_lung", "nsclc_radiogenomics"] and "Simpson" in told["evidence"]
    # Neither where voxels are compared, nor for one of the two.
    assert uls_data.audit(tmp_path, voxels=True, workers=0).untold == []
    assert uls_data.audit(tmp_path / "manifest" / "mdsc_lung.parquet").untold == []
