"""MONAI's own loader reads the list and the VOIs behind it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.dataset import AFFINE, PATIENTS, name_of, write_dataset
from makers.shared import linked

from uls_data.cli import main
from uls_data.errors import SourceError
from uls_data.export import export_croissant, export_monai, export_nnunet, export_webdataset
from uls_data.io import atomic_write
from uls_data.io.lock import LOCK, locked
from uls_data.manifest import read_table, write_manifest
from uls_data.network.examples import find_examples


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build")
    write_dataset(out)
    return out


@pytest.mark.filterwarnings("ignore")  # of readers that MONAI looks for and does not find
def test_monai_reads_the_list(built: Path, tmp_path: Path) -> None:
    data = pytest.importorskip("monai.data")
    transforms = pytest.importorskip("monai.transforms")
    found = export_monai(built, tmp_path / "lists", folds=2)
    assert (found.path, found.train, found.heldout) == (tmp_path / "lists/dataset.json", 6, 1)
    load = transforms.LoadImaged(keys=["image", "label"], reader="NibabelReader")
    for part, wanted in (("training", "p"), ("validation", "h")):
        items = data.load_decathlon_datalist(found.path, True, part)
        assert {item["voi_id"] for item in items} == {
            name_of(number) for number, who in enumerate(PATIENTS) if who[0] == wanted
        }
        item = load(items[0])
        for kind in ("image", "label"):
            stored = nibabel.load(built / "own" / f"{kind}s" / f"{items[0]['voi_id']}.nii.gz")
            assert np.array_equal(np.asarray(item[kind]), np.asarray(stored.dataobj))
            assert np.allclose(np.asarray(item[kind].affine), AFFINE, atol=1e-4)


def test_the_list_can_move_with_the_vois(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "here" / "build"))
    path = export_monai(copy, tmp_path / "here" / "lists", folds=2).path
    text = path.read_text()
    assert str(tmp_path) not in text
    (tmp_path / "here").rename(tmp_path / "there")
    content = json.loads(text)
    for item in content["training"] + content["validation"]:
        for kind in ("image", "label"):
            assert (tmp_path / "there" / "lists" / item[kind]).is_file()
    assert content["numTraining"] == len(content["training"]) == 6
    by_patient: dict[str, set[int]] = {}
    for item in content["training"]:
        by_patient.setdefault(item["patient"], set()).add(item["fold"])
    assert all(len(folds) == 1 for folds in by_patient.values()) and len(by_patient) == 5
    assert all("fold" not in item for item in content["validation"])


def test_both_exports_agree_on_folds(built: Path, tmp_path: Path) -> None:
    content = json.loads(export_monai(built, tmp_path, folds=2).path.read_text())
    folder = export_nnunet(built, tmp_path, folds=2, link=True).path
    for number, fold in enumerate(json.loads((folder / "splits_final.json").read_text())):
        ours = [item["voi_id"] for item in content["training"] if item["fold"] == number]
        assert ours == fold["val"]


def test_weak_masks_and_missing_files(built: Path, tmp_path: Path, capsys: Any) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "build"))
    (copy / "own" / "labels" / f"{name_of(0)}.nii.gz").unlink()
    with pytest.raises(SystemExit) as caught:
        main(["export", "monai", str(copy), "--to", str(tmp_path), "--folds", "2", "--weak"])
    streams = capsys.readouterr()
    assert caught.value.code == 1 and name_of(0) in streams.err
    items = json.loads((tmp_path / "dataset.json").read_text())["training"]
    assert {item["supervision"] for item in items} == {"full", "weak_2d"} and len(items) == 6
    with pytest.raises(SourceError, match="--folds 1"):
        export_monai(copy, tmp_path, folds=1)


@pytest.mark.parametrize("form", [export_croissant, export_monai, export_nnunet, export_webdataset])
def test_one_export_at_a_time(built: Path, tmp_path: Path, form: Any) -> None:
    """A second one would take the files at work for those of a killed run, and remove them."""
    folder = tmp_path / "Dataset100_ULS" if form is export_nnunet else tmp_path
    with (
        locked(folder / LOCK, "test"),
        pytest.raises(SourceError, match=f"--to {folder}: another run is at work there"),
    ):
        form(built, tmp_path, folds=2)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes(built: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "dataset.json") as left:
        raise KeyboardInterrupt
    left.with_name(f"{left.name}1").write_bytes(b"half")
    export_monai(built, tmp_path, folds=2)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]


def test_masks_that_a_certificate_keeps(built: Path, tmp_path: Path) -> None:
    """The same in every export to train on, and in a training's own examples."""
    out = linked(built, tmp_path / "build")
    rows = read_table(out).to_pylist()
    for row in rows:
        if row["voi_id"] in (name_of(0), name_of(2)):
            row |= {"supervision": "pseudo_3d", "layer": "pseudo3d-r1"}
            row |= {"certified": row["voi_id"] == name_of(2)}
    (out / "manifest" / "own.parquet").unlink()
    write_manifest(rows, out / "manifest" / "own.parquet")
    expected = [name_of(number) for number in (1, 2, 3, 4, 5)]
    found = find_examples(out, certified=True)
    assert [example.row["voi_id"] for example in found.train] == expected
    assert found.left_out["pseudo-masks that no certificate keeps"] == 2  # and one of one slice
    for export in (export_monai, export_nnunet, export_webdataset, export_croissant):
        to = tmp_path / export.__name__
        assert export(out, to, folds=2).train == 6, export
        again = export(out, tmp_path / f"{export.__name__}-certified", folds=2, certified=True)
        assert again.train == 5, export
    command = ["export", "monai", str(out), "--to", str(tmp_path / "cli"), "--folds", "2"]
    with pytest.raises(SystemExit) as caught:
        main([*command, "--certified"])
    assert caught.value.code == 0
    content = json.loads((tmp_path / "cli" / "dataset.json").read_text())
    assert [item["voi_id"] for item in content["training"]] == expected
