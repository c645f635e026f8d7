"""mlcroissant's own validation and reader."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from makers.dataset import AFFINE, PATIENTS, name_of, write_dataset

from uls_data.errors import SourceError
from uls_data.export import export_croissant


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build")
    write_dataset(out)
    return out


@pytest.fixture(scope="module")
def exported(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("set")
    found = export_croissant(built, to, folds=2)
    assert (found.train, found.heldout, found.failed) == (6, 1, [])
    return to


@pytest.mark.filterwarnings("ignore")  # of what the validator wishes for, and of its libraries
def test_mlcroissant_reads_the_set(built: Path, exported: Path) -> None:
    croissant = pytest.importorskip("mlcroissant")
    data = croissant.Dataset(exported / "croissant.json")
    assert not data.metadata.ctx.issues.errors
    names = set()
    for part, count in (("train-00000", 6), ("heldout-00000", 1)):
        records = list(data.records(part))
        assert len(records) == count
        for record in records:
            told = {key.rpartition("/")[2]: value for key, value in record.items()}
            name = told["voi_id"].decode()
            names.add(name)
            image = nibabel.Nifti1Image.from_bytes(gzip.decompress(told["label"]))
            stored = nibabel.load(built / "own" / "labels" / f"{name}.nii.gz")
            assert np.array_equal(image.dataobj, stored.dataobj)
            assert np.allclose(image.affine, AFFINE, atol=1e-4)
            assert told["spacing_z_mm"] == 2.5
    assert names == {name_of(n) for n, who in enumerate(PATIENTS) if who != "weak"}


def test_bytes_of_the_build_and_its_hashes(built: Path, exported: Path) -> None:
    table = pq.read_table(exported / "train" / "00000.parquet")
    for row in table.to_pylist():
        for kind in ("image", "label"):
            path = built / "own" / f"{kind}s" / f"{row['voi_id']}.nii.gz"
            assert row[kind] == path.read_bytes()
    described = json.loads((exported / "croissant.json").read_text())["distribution"]
    assert len(described) == 2
    for file in described:
        data = (exported / file["contentUrl"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"]


def test_files_of_another_export_are_refused(built: Path, exported: Path, tmp_path: Path) -> None:
    """Before a file is written: `croissant.json` has the hashes of the older ones."""
    (tmp_path / "heldout").mkdir()
    (tmp_path / "heldout" / "00007.parquet").write_bytes(b"")
    with pytest.raises(SourceError, match="does not belong to this export"):
        export_croissant(built, tmp_path, folds=2)
    assert not (tmp_path / "train").exists()
