"""WebDataset's own reader on the shards."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.dataset import AFFINE, PATIENTS, name_of, write_dataset
from makers.shared import linked

from uls_data.cli import main
from uls_data.errors import SourceError
from uls_data.export import export_webdataset
from uls_data.manifest import read_table, write_manifest
from uls_data.nifti_writer import nifti_gz


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build")
    write_dataset(out)
    return out


@pytest.fixture(scope="module")
def shards(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("shards")
    found = export_webdataset(built, to, folds=2, shard_size=4)
    assert (found.train, found.heldout, found.failed) == (6, 1, [])
    return to


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.mark.filterwarnings("ignore")  # of what the reader does with its files
def test_webdataset_reads_the_shards(built: Path, shards: Path) -> None:
    wds = pytest.importorskip("webdataset")
    seen: dict[str, Any] = {}
    for name in ("train-000000", "train-000001", "heldout-000000"):
        reader = wds.WebDataset(str(shards / f"{name}.tar"), shardshuffle=False)
        samples = list(reader.decode())
        assert len(samples) == (1 if name.startswith("heldout") else 3)
        for sample in samples:
            told = sample["json"]
            assert ("fold" in told) == name.startswith("train")
            seen[told["voi_id"]] = told
            for kind in ("image", "label"):
                path = built / "own" / f"{kind}s" / f"{told['voi_id']}.nii.gz"
                assert np.array_equal(sample[f"{kind}.npy.gz"], nibabel.load(path).dataobj)
            assert np.allclose(told["affine"], AFFINE, atol=1e-4)
    assert seen.keys() == {name_of(n) for n, who in enumerate(PATIENTS) if who != "weak"}


def test_a_member_is_found_by_seeking(built: Path, shards: Path) -> None:
    record = json.loads((shards / "train-000001.json").read_text())
    data = (shards / "train-000001.tar").read_bytes()
    assert hashlib.sha256(data).hexdigest() == record["sha256"] and record["samples"] == 3
    name = next(name for name in record["members"] if name.endswith(".label.npy.gz"))
    start, size = record["members"][name]
    label = np.load(io.BytesIO(gzip.decompress(data[start : start + size])))
    path = built / "own" / "labels" / f"{name.split('.')[0]}.nii.gz"
    assert np.array_equal(label, nibabel.load(path).dataobj)


def test_an_interrupted_export_goes_on(built: Path, shards: Path, tmp_path: Path) -> None:
    """Whole shards stay as they are; a missing and a short one are written: the same bytes."""
    to = linked(shards, tmp_path / "again")
    (to / "train-000000.tar").unlink()
    (to / "heldout-000000.tar").unlink()
    (to / "heldout-000000.tar").write_bytes(b"cut short")
    kept = (to / "train-000001.tar").stat()
    assert export_webdataset(built, to, folds=2, shard_size=4).train == 6
    assert (to / "train-000001.tar").stat().st_ino == kept.st_ino
    assert hashes(to) == hashes(shards)
    with tarfile.open(to / "train-000000.tar") as tar:
        assert {(m.mtime, m.uid, m.uname) for m in tar} == {(0, 0, "")}
    with pytest.raises(SourceError, match="does not belong to this export"):
        export_webdataset(built, to, folds=2, shard_size=100)


def test_an_image_that_moved_is_written_again(built: Path, tmp_path: Path) -> None:
    """Its voxels are the same, the affine beside them is not."""
    out, to = linked(built, tmp_path / "build"), tmp_path / "to"
    rows = [row | {"image_voxels_sha256": row["voi_id"]} for row in read_table(out).to_pylist()]
    write_manifest(rows, out / "manifest" / "own.parquet")
    export_webdataset(out, to, folds=2)
    path = out / "own" / "images" / f"{name_of(0)}.nii.gz"
    image = nibabel.load(path)
    moved = nifti_gz(np.asarray(image.dataobj), AFFINE + np.eye(4, k=3))
    path.unlink()
    path.write_bytes(moved)
    export_webdataset(out, to, folds=2)
    with tarfile.open(to / "train-000000.tar") as tar:
        told = [json.load(tar.extractfile(m)) for m in tar if m.name.endswith("json")]  # type: ignore[arg-type]
    affine = next(one["affine"] for one in told if one["voi_id"] == name_of(0))
    assert affine[0][3] == AFFINE[0, 3] + 1


def test_what_cannot_be_read_is_named_each_time(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = linked(built, tmp_path / "build")
    (out / "own" / "labels" / f"{name_of(1)}.nii.gz").unlink()
    with pytest.raises(SystemExit) as caught:
        main(["export", "webdataset", str(out), "--to", str(tmp_path / "to"), "--folds", "2"])
    streams = capsys.readouterr()
    assert caught.value.code == 1 and f"{name_of(1)}: mask_missing" in streams.err
    assert "5 VOIs to train on, 1 held out" in streams.out
    again = export_webdataset(out, tmp_path / "to", folds=2)
    assert [one["voi_id"] for one in again.failed] == [name_of(1)]
