"""A store holds the same voxels as the files it was made of, in fewer bytes, and says when not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers.placed import placed_row, scan_of
from makers.shared import linked

from benchmarks.ours import RECIPE
from uls_data import VoiDataset, open_voi
from uls_data.cli import main
from uls_data.errors import CaseError, ManifestError, SourceError, UlsDataError
from uls_data.export import export_store
from uls_data.manifest import read_table, write_manifest
from uls_data.network.training import train
from uls_data.release import release_build, release_verify

blosc2 = pytest.importorskip("blosc2", reason="blosc2 is not installed: pip install -e '.[store]'")
CROP = (16, 32, 48)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans: two lesions with several clicks; one lesion twice masked; VOIs of no place."""
    out = tmp_path_factory.mktemp("build")
    one, two, three = scan_of(1), scan_of(2, (270, 260, 140)), scan_of(3)
    three[0, 0, 0] = 0
    wide = three.astype(np.int32)
    wide[150, 150, 45] = 70_000
    rows = [
        *(placed_row(out, one, "a", (150 + n, 140, 40 + n), sample=n, centre=(151, 140, 41))
          for n in range(3)),
        placed_row(out, one, "a", (20, 30, 80), lesion=2),
        placed_row(out, two, "b", (130, 130, 70)),
        placed_row(out, two, "b", (130, 130, 70), layer="pseudo3d-r1", centre=(131, 130, 70),
                   supervision="pseudo_3d"),
        placed_row(out, wide, "c", (150, 150, 40)),
        placed_row(out, three, "d", (150, 150, 40), pad_before_x_vox=None, voi_origin_x_vox=None),
        placed_row(out, three, "e", (150, 150, 40), split="heldout"),
        {**dict.fromkeys(("lesion_index", "sample_index", "layer", "image_path", "label_path")),
         "source": "own", "case_id": "f", "status": "failed", "reason": "unreadable",
         "licence": "CC0-1.0", "redistributable": True},
    ]  # fmt: skip
    write_manifest(rows, out / "manifest" / "own.parquet")
    return out


@pytest.fixture(scope="module")
def store(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("store")
    found = export_store(built, to)
    assert (found.vois, found.masks, found.scans, found.failed) == (8, 9, 5, [])
    return to


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def arrays(folder: Path, kind: str) -> list[str]:
    return sorted(path.stem for path in (folder / "own" / kind).rglob("*.b2nd"))


def rows_of(out: Path) -> list[dict[str, Any]]:
    return read_table(out / "manifest" / "own.parquet").to_pylist()


def test_clicks_share_the_array_of_their_scan(built: Path, store: Path) -> None:
    assert arrays(store, "scans") == [f"{case}_lesion_01_sample_0" for case in "abcde"]
    # Three clicks on a lesion show one mask.
    assert arrays(store, "masks/annotated") == sorted(
        ["a_lesion_02_sample_0", *(f"{case}_lesion_01_sample_0" for case in "abcde")]
    )
    assert arrays(store, "masks/pseudo3d-r1") == ["b_lesion_01_sample_0"]
    before, after = rows_of(built), rows_of(store)
    changed = ("image_path", "label_path", "image_sha256", "label_sha256")
    for row, other in zip(before, after, strict=True):
        assert {**row, **dict.fromkeys(changed)} == {**other, **dict.fromkeys(changed)}
    for row in after[:-1]:
        for kind in ("image", "label"):
            data = (store / row[f"{kind}_path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row[f"{kind}_sha256"]


def test_every_voi_has_the_same_voxels(built: Path, store: Path) -> None:
    for row in rows_of(built)[:-1]:
        one, other = open_voi(row, built), open_voi(row, store)
        assert one.image.dtype == other.image.dtype
        for name in ("image", "mask", "valid", "affine"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), row["voi_id"]
    assert open_voi("c_lesion_01_sample_0", store).image.max() == 70_000


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("crop", [CROP, (64, 256, 256)])
def test_every_item_is_the_same(built: Path, store: Path, split: Any, crop: Any) -> None:
    options: dict[str, Any] = {"split": split, "crop": crop, "window_hu": (-100, 200)}
    options["reclick"] = 0.5 if crop == CROP else 0.0
    ones, others = (VoiDataset(folder, **options) for folder in (built, store))
    assert len(ones) == len(others) == (7 if split == "train" else 1)
    for index in range(len(ones)):
        one, other = ones[index], others[index]
        assert one.keys() == other.keys()
        for name, value in one.items():
            same = torch.equal(value, other[name]) if torch.is_tensor(value) else None
            assert same or value == other[name]


def test_a_crop_costs_the_blocks_that_it_touches(built: Path, store: Path) -> None:
    def read(folder: Path) -> int:
        data = VoiDataset(folder, crop=CROP)
        data[0]
        before = read_bytes()
        data[0]
        return read_bytes() - before

    assert 0 < read(store) < read(built) / 8


def read_bytes() -> int:
    text = Path("/proc/self/io").read_text()
    return int(text.split("rchar: ")[1].split()[0])


def test_the_same_bytes_for_any_worker_and_again(
    built: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOSC_NTHREADS", "4")
    monkeypatch.setenv("BLOSC_CLEVEL", "1")
    export_store(built, tmp_path, workers=2)
    assert hashes(tmp_path) == hashes(store)
    inodes = {p: p.stat().st_ino for p in tmp_path.rglob("*.b2nd")}
    export_store(built, tmp_path)
    assert hashes(tmp_path) == hashes(store)
    assert {p: p.stat().st_ino for p in inodes} == inodes


def test_an_interrupted_export_continues(built: Path, store: Path, tmp_path: Path) -> None:
    """As a kill leaves it: no manifest yet, a line cut short, a file that no line names."""
    to = linked(store, tmp_path / "store")
    for name in ("SHA256SUMS", "manifest/own.parquet"):
        (to / name).unlink()
    lines = (to / "store.jsonl").read_text().splitlines()
    (to / "store.jsonl").unlink()
    (to / "store.jsonl").write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])
    (to / "own" / "scans" / ".tmp-0123-4").write_bytes(b"half")
    (to / "own" / "scans" / "b_lesion_01_sample_0.b2nd").unlink()
    kept = (to / "own" / "scans" / "a_lesion_01_sample_0.b2nd").stat().st_ino
    seen: list[int] = []
    export_store(built, to, progress=seen.append)
    assert hashes(to) == hashes(store) and seen == [1, 1, 1, 1, 1]
    assert (to / "own" / "scans" / "a_lesion_01_sample_0.b2nd").stat().st_ino == kept


def test_what_changed_is_written_again(built: Path, tmp_path: Path) -> None:
    """A VOI that no longer agrees with its scan has an array of its own, until it does again."""
    out, to = linked(built, tmp_path / "build"), tmp_path / "store"
    export_store(out, to)
    whole = hashes(to)
    rows = rows_of(out)
    row = next(row for row in rows if row["voi_id"] == "a_lesion_01_sample_1")
    true = row["voi_origin_x_vox"], row["image_voxels_sha256"]
    row["voi_origin_x_vox"] += 1
    write_manifest(rows, out / "manifest" / "own.parquet")
    found = export_store(out, to)
    assert found.scans == 6 and "a_lesion_01_sample_1" in arrays(to, "scans")
    one, other = open_voi(row["voi_id"], out), open_voi(row["voi_id"], to)
    assert np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)
    row["voi_origin_x_vox"] = true[0]
    write_manifest(rows, out / "manifest" / "own.parquet")
    export_store(out, to)
    assert hashes(to) == whole


def test_other_files_are_refused(built: Path, store: Path, tmp_path: Path) -> None:
    to = linked(store, tmp_path)
    (to / "own" / "scans" / "stranger.b2nd").write_bytes(b"")
    with pytest.raises(SourceError, match=r"stranger.b2nd does not belong to this export"):
        export_store(built, to)


def test_a_missing_file_is_a_failed_row_each_time(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, to = linked(built, tmp_path / "build"), tmp_path / "store"
    (out / "own" / "images" / "a_lesion_01_sample_1.nii.gz").unlink()
    broken = out / "own" / "labels" / "annotated" / "e_lesion_01_sample_0.nii.gz"
    broken.unlink()
    broken.write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            main(["export", "store", str(out), "--to", str(to)])
        streams = capsys.readouterr()
        assert caught.value.code == 1 and "7 VOIs and 8 masks in 5 arrays" in streams.out
        assert "a_lesion_01_sample_1: image_missing" in streams.err
        assert "e_lesion_01_sample_0: unreadable" in streams.err
    status = {row["voi_id"]: (row["status"], row["reason"]) for row in rows_of(to)}
    assert status["a_lesion_01_sample_1"] == ("failed", "image_missing")
    assert release_verify(to).findings == []


def test_verify_knows_a_store_and_release_refuses_it(store: Path, tmp_path: Path) -> None:
    to = linked(store, tmp_path / "store")
    assert release_verify(to).findings == []
    recipe = tmp_path / "own.yaml"
    recipe.write_text(RECIPE.replace("source: phantom", "source: own"))
    with pytest.raises(UlsDataError, match="release the build that it was exported from"):
        release_build(to, tmp_path / "release", version="1", recipes=[recipe])
    scan = to / "own" / "scans" / "a_lesion_01_sample_0.b2nd"
    data = bytearray(scan.read_bytes())
    data[len(data) // 2] ^= 1
    scan.unlink()
    scan.write_bytes(data)
    mask = to / "own" / "masks" / "annotated" / "b_lesion_01_sample_0.b2nd"
    mask.unlink()
    found = {(fault.kind, fault.file) for fault in release_verify(to).findings}
    assert found == {
        ("changed", "own/scans/a_lesion_01_sample_0.b2nd"),
        ("missing", "own/masks/annotated/b_lesion_01_sample_0.b2nd"),
    }


@pytest.mark.parametrize("form", ["monai", "webdataset"])
def test_other_exports_name_the_build(
    form: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export", form, str(store), "--to", str(tmp_path), "--folds", "2"])
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert "a_lesion_01_sample_0: unsupported_format" in told and " build" in told


def damaged(data: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    changed = bytearray(data)
    if seed % 3 == 0:
        return bytes(changed[: rng.randrange(len(data))])
    places = [rng.randrange(200) for _ in range(3)] if seed % 3 == 1 else []
    places += [len(data) - 1 - rng.randrange(200) for _ in range(2)]
    for at in places:
        changed[at] = rng.randrange(256)
    return bytes(changed)


def test_a_damaged_array_is_an_error_with_a_reason(store: Path, tmp_path: Path) -> None:
    to = linked(store, tmp_path)
    path = to / "own" / "scans" / "a_lesion_01_sample_0.b2nd"
    data = path.read_bytes()
    voi = VoiDataset(to, crop=CROP)
    refused = 0
    for seed in range(int(os.environ.get("ULS_DATA_HOSTILE_STORES", "60"))):
        path.unlink()
        path.write_bytes(damaged(data, seed))
        try:
            voi[0]
        except CaseError as error:
            refused += 1
            assert error.reason in ("unreadable", "too_large", "voi_shape"), error
            assert path.name in error.detail
    assert refused > 20


def test_an_array_is_not_believed(store: Path, tmp_path: Path) -> None:
    """Shapes are checked before anything is allocated, and rows against the array."""
    to = linked(store, tmp_path)
    name = "own/scans/b_lesion_01_sample_0.b2nd"
    path = to / name

    def refuse(reason: str, **said: Any) -> None:
        with pytest.raises(CaseError) as caught:
            VoiDataset(to, crop=CROP, layers=["pseudo3d-r1"])[0]
        assert caught.value.reason == reason and path.name in caught.value.detail

    def put(shape: tuple[int, ...], dtype: Any = np.int16, **options: Any) -> None:
        path.unlink()
        said = {"uls-data": {"frame": "scan", "origin": [0, 0, 0]}} | options.pop("meta", {})
        blosc2.zeros(shape, dtype, urlpath=str(path), meta=said, **options)

    for shape, reason in [
        ((4096, 4096, 4096), "too_large"),
        ((140, 260, 260), "voi_shape"),
        ((140, 260), "unreadable"),
        ((140, 260, 260, 1), "unreadable"),
    ]:
        put(shape)
        if reason == "voi_shape":
            refuse_place(to, name)
        else:
            refuse(reason)
    for meta in [
        {"frame": "moon", "origin": [0, 0, 0]},
        {"frame": "scan", "origin": [0, 0]},
        {"frame": "scan", "origin": "abc"},
        [1, 2],
        {},
    ]:
        put((140, 260, 270), meta={"uls-data": meta})
        refuse("unreadable")
    put((140, 260, 270), np.float64)
    refuse("unreadable")
    # Blocks larger than their chunk: sizes in the header are msgpack, four bytes behind 0xd2.
    put((140, 260, 270), chunks=(32, 64, 64), blocks=(8, 32, 16))
    said = b"".join(b"\xd2" + n.to_bytes(4, "big") for n in (8, 32, 16))
    data = path.read_bytes()
    assert data.count(said) == 1
    path.write_bytes(data.replace(said, said.replace(b"\x08", b"\x48")))
    refuse("too_large")


def test_code_in_a_file_is_not_run(store: Path, tmp_path: Path) -> None:
    """The library also stores functions, with their source, where an array is expected."""
    to = linked(store, tmp_path)
    path = to / "own" / "scans" / "a_lesion_01_sample_0.b2nd"
    path.unlink()

    def code(inputs: Any, output: Any, offset: Any) -> None:
        output[:] = inputs[0]

    operand = blosc2.zeros((8,), np.int16, urlpath=str(tmp_path / "operand.b2nd"))
    blosc2.lazyudf(code, (operand,), operand.dtype).save(urlpath=str(path))
    with pytest.raises(CaseError, match="deserialize='safe'") as caught:
        VoiDataset(to, crop=CROP)[0]
    assert caught.value.reason == "unreadable"


def refuse_place(to: Path, name: str) -> None:
    rows = rows_of(to)
    for row in rows:
        if row["image_path"] == name:
            row["voi_origin_x_vox"] = 2**31 - 300
    write_manifest(rows, to / "manifest" / "own.parquet")
    with pytest.raises(CaseError, match="does not hold the VOI") as caught:
        VoiDataset(to, crop=CROP, layers=["pseudo3d-r1"])[0]
    assert caught.value.reason == "voi_shape"


def test_rows_far_apart_have_arrays_of_their_own(built: Path, tmp_path: Path) -> None:
    """Nothing is allocated on the word of a row."""
    out = linked(built, tmp_path / "build")
    rows = rows_of(out)
    rows[0]["voi_origin_z_vox"] = 2**31 - 1
    write_manifest(rows, out / "manifest" / "own.parquet")
    assert export_store(out, tmp_path / "store").scans == 8
    one, other = (open_voi(rows[0], folder) for folder in (out, tmp_path / "store"))
    assert np.array_equal(one.image, other.image)


def test_names_that_no_file_can_have(built: Path, tmp_path: Path) -> None:
    out = linked(built, tmp_path / "build")
    for change, words in [
        ({"voi_id": "../x"}, "valid name"),
        ({"source": "a/b"}, "valid name"),
        ({"layer": "../x"}, "valid layer"),
        ({"voi_id": "b_lesion_01_sample_0"}, "two VOIs"),
    ]:
        rows = rows_of(built)
        rows[0] |= change
        (out / "manifest" / "own.parquet").unlink(missing_ok=True)
        write_manifest(rows, out / "manifest" / "own.parquet")
        with pytest.raises(ManifestError, match=words):
            export_store(out, tmp_path / "store")
    shutil.copy(built / "manifest" / "own.parquet", out / "manifest" / "more.parquet")
    with pytest.raises(ManifestError, match="two rows have the key"):
        export_store([built, out / "manifest" / "more.parquet"], tmp_path / "store")


def test_a_training_reaches_the_same_weights(built: Path, store: Path, tmp_path: Path) -> None:
    def weights(folder: Path, out: Path) -> dict[str, torch.Tensor]:
        report = train(folder, out, plan="small", device="cpu", steps=2, workers=1)
        assert report.failed == []
        saved = torch.load(report.checkpoint, map_location="cpu", weights_only=True)
        found: dict[str, torch.Tensor] = saved["network_weights"]
        return found

    ours, theirs = weights(store, tmp_path / "store"), weights(built, tmp_path / "nifti")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_command(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "store", str(built), "--to", str(tmp_path), "--workers", "2", "--json"]
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["vois"], told["masks"], told["scans"]) == (8, 9, 5)
    assert told["bytes"] == sum(path.stat().st_size for path in tmp_path.rglob("*.b2nd"))
