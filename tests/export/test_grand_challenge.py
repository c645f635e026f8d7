"""The challenge's stacks: read again by SimpleITK, voxel for voxel, and scored by their lists."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from makers.shared import linked
from numpy.typing import NDArray

from uls_data.cli import main
from uls_data.errors import CaseError, ManifestError, SourceError
from uls_data.export import export_grand_challenge
from uls_data.export.grand_challenge import ChallengeExport
from uls_data.io import remove_temporaries
from uls_data.manifest import write_manifest
from uls_data.manifest.parquet import read_table
from uls_data.nifti_writer import nifti_gz
from uls_data.outcome import Reason
from uls_data.scoring.consistency import shift_of
from uls_data.scoring.job import IMAGES, SPACINGS, Stack, read_json, read_spacings, writing
from uls_data.scoring.volumes import evaluate
from uls_data.voi import CENTRE, VOI_SHAPE

SPACING = (0.7, 0.7, 2.5)
# Clicks on one lesion of a scan, and one on another.
CLICKS = {
    (1, 0): (128, 128, 64),
    (1, 1): (131, 121, 65),
    (1, 2): (127, 130, 60),
    (2, 0): (90, 99, 60),
}
LESION = (slice(124, 133), slice(122, 131), slice(60, 68))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build")
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(0)
    for (lesion, sample), click in CLICKS.items():
        name = f"own_1_lesion_{lesion:02d}_sample_{sample}"
        origin = np.subtract(click, CENTRE)
        affine = np.diag([*SPACING, 1.0])
        affine[:3, 3] = np.array([-33.3, 12.1, -804.7]) + origin * SPACING
        hu = np.full(VOI_SHAPE, -1001, np.int16, order="F")
        hu[100:150, 100:150, 50:70] = rng.integers(-1000, 3000, (50, 50, 20))
        label = np.zeros(VOI_SHAPE, np.uint8, order="F")
        label[
            tuple(slice(p.start - o, p.stop - o) for p, o in zip(LESION, origin, strict=True))
        ] = 1
        row = {"source": "own", "case_id": "1", "lesion_index": lesion, "sample_index": sample}
        row |= {"layer": "annotated", "status": "ok", "voi_id": name, "qc_flags": []}
        row |= {"affine": affine.ravel().tolist(), "patient_id": "1", "supervision": "full"}
        for kind, voxels in (("image", hu), ("label", label)):
            row[f"{kind}_path"] = f"own/{kind}s/{name}.nii.gz"
            path = out / row[f"{kind}_path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(nifti_gz(voxels, affine))
        rows.append(row)
    write_manifest(rows, out / "manifest" / "own.parquet")
    return out


@pytest.fixture(scope="module")
def job(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("stacks")
    found = export_grand_challenge(built, to)
    assert (found.vois, found.lesions, found.with_truth, found.failed) == (4, 2, 1, [])
    assert found.jobs == [to / "job-001"]
    return found.jobs[0]


def voxels(built: Path, kind: str, number: int) -> NDArray[Any]:
    lesion, sample = list(CLICKS)[number]
    path = built / "own" / f"{kind}s" / f"own_1_lesion_{lesion:02d}_sample_{sample}.nii.gz"
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_simpleitk_reads_the_vois_back(built: Path, job: Path) -> None:
    (path,) = (job / "input" / IMAGES).iterdir()
    stack = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert stack.shape == (128 * 4, 256, 256) and stack.dtype == np.int16
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(job / "ground-truth" / path.name)))
    assert truth.shape == stack.shape and truth.dtype == np.uint8
    ours = Stack(path)
    assert len(ours) == 4
    for number in range(4):
        part = slice(128 * number, 128 * (number + 1))
        assert np.array_equal(stack[part], voxels(built, "image", number))
        assert np.array_equal(truth[part], voxels(built, "label", number))
        assert np.array_equal(ours[number], stack[part].T)
    with pytest.raises(IndexError):
        ours[4]
    packed = path.parent.parent / "packed.mha"
    sitk.WriteImage(sitk.ReadImage(str(path)), str(packed), useCompression=True)
    assert np.array_equal(Stack(packed)[3], ours[3])
    packed.unlink()


def test_lists(job: Path) -> None:
    truth = job / "ground-truth"
    spacings = json.loads((job / "input" / SPACINGS).read_text())
    assert spacings == json.loads((truth / "stacked_spacing.json").read_text())
    assert np.allclose(spacings, [SPACING] * 4)
    assert json.loads((truth / "single_sample.json").read_text()) == [0, 3]
    (pairs,) = json.loads((truth / "multi_sample.json").read_text())
    assert [pair[:2] for pair in pairs] == [[a, b] for a, b in combinations(range(3), 2)]
    clicks = list(CLICKS.values())
    for a, b, offset in pairs:
        # From click a to click b in ITK's coordinates: x and y run against RAS.
        moved = np.multiply(np.subtract(clicks[b], clicks[a]), SPACING) * (-1, -1, 1)
        assert offset == pytest.approx(moved.tolist(), abs=1e-9)
        assert shift_of(offset, spacings[a]) == tuple(np.subtract(clicks[a], clicks[b]))


def test_the_truth_agrees_with_itself(built: Path, job: Path) -> None:
    """One lesion seen from three clicks: the challenge's floor must bring all three together."""
    for truth in (job / "ground-truth", built):
        found = evaluate(job / "ground-truth", truth)
        (whole,) = found.summary()
        assert whole["lesions"] == 2
        assert whole["challenge_score"] == pytest.approx(1, abs=1e-15)
        assert [row["pairs"] for row in found.rows] == [3, 0, 0, 0]


def test_jobs_keep_the_clicks_of_a_lesion_together(built: Path, tmp_path: Path) -> None:
    found = export_grand_challenge(built, tmp_path, stack_size=3)
    assert [len(Stack(j / "ground-truth" / f"{j.name}.mha")) for j in found.jobs] == [3, 1]
    assert read_json(tmp_path / "job-002" / "ground-truth" / "multi_sample.json") == []
    with pytest.raises(ManifestError, match="must share a stack"):
        export_grand_challenge(built, tmp_path / "small", stack_size=2)
    assert not (tmp_path / "small").exists()
    left = tmp_path / "job-001" / "ground-truth" / ".tmp-of-a-killed-run"
    left.write_bytes(b"half")
    export_grand_challenge(built, tmp_path, stack_size=3)
    assert not left.exists()
    with pytest.raises(SourceError, match="job-002/input does not belong to this export"):
        export_grand_challenge(built, tmp_path)


def test_a_bad_voi_is_left_out(built: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "build"
    for path in built.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(built)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(built)).symlink_to(path)
    bad = copy / "own" / "images" / "own_1_lesion_01_sample_1.nii.gz"
    bad.unlink()
    bad.write_bytes(b"no image")
    with pytest.raises(SystemExit) as caught:
        main(["export", "grand-challenge", str(copy), "--to", str(tmp_path / "to"), "--json"])
    streams = capsys.readouterr()
    assert caught.value.code == 1 and "own_1_lesion_01_sample_1" in streams.err
    truth = Path(json.loads(streams.out)["job"]) / "ground-truth"
    assert len(Stack(truth / "job-001.mha")) == len(read_json(truth / "vois.json")) == 3
    ((pair,),) = read_json(truth / "multi_sample.json")
    assert pair[:2] == [0, 1]
    assert read_json(truth / "single_sample.json") == [0, 2]


def test_a_row_without_affine_is_named(built: Path, tmp_path: Path) -> None:
    out = linked(built, tmp_path / "build")
    rows = read_table(out).to_pylist()
    rows[0]["affine"] = None
    write_manifest(rows, out / "manifest" / "own.parquet")
    found = export_grand_challenge(out, tmp_path / "to")
    assert found.vois == 3 and found.failed[0]["reason"] == "bad_affine"


def test_without_images_there_is_nothing_to_export(tmp_path: Path) -> None:
    row = {
        "source": "s",
        "case_id": "c",
        "lesion_index": 1,
        "sample_index": 0,
        "layer": "annotated",
    }
    write_manifest([{**row, "status": "ok", "qc_flags": []}], tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match="--labels-only"):
        export_grand_challenge(tmp_path / "m.parquet", tmp_path / "to")


def test_bad_stacks_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "s.mha"
    with writing(path) as stack:
        stack.put(np.zeros(VOI_SHAPE, np.int16))
        with pytest.raises(CaseError) as caught:
            stack.put(np.zeros((256, 256, 127), np.int16))
        assert caught.value.reason is Reason.VOI_SHAPE
        with pytest.raises(CaseError) as caught:
            stack.put(np.full(VOI_SHAPE, 70_000, np.int32))
        assert caught.value.reason is Reason.HU_OUT_OF_RANGE
    assert len(Stack(path)) == 1
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(CaseError) as caught:
        Stack(path)
    assert caught.value.reason is Reason.TRUNCATED_FILE
    path.write_bytes(data.replace(b"256 256 128", b"256 128 256"))
    with pytest.raises(CaseError) as caught:
        Stack(path)
    assert caught.value.reason is Reason.VOI_SHAPE
    for text in ("[[1, 1]]", "[[1, 1, 0]]", "{}", "[[1, 1, 1], [1, 1, 1]]", "nonsense", "[null]"):
        (tmp_path / "sp.json").write_text(text)
        with pytest.raises(CaseError) as caught:
            read_spacings(tmp_path / "sp.json", 1)
        assert caught.value.reason is Reason.UNREADABLE
    remove_temporaries(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"s.mha", "sp.json"}


def test_parts_of_a_set_have_folders_of_their_own(built: Path, tmp_path: Path) -> None:
    table = read_table(built / "manifest" / "own.parquet").to_pylist()
    out, to = tmp_path / "build", tmp_path / "sets"
    (out / "own").parent.mkdir()
    (out / "own").symlink_to(built / "own", target_is_directory=True)

    def export(names: dict[int, str | None]) -> ChallengeExport:
        rows = [{**row, "source_split": names[row["lesion_index"]]} for row in table]
        write_manifest(rows, out / "manifest" / "own.parquet")
        return export_grand_challenge(out, to, parts=True)

    numbers = sorted({row["lesion_index"] for row in table})
    found = export(dict(zip(numbers, ("validation", "test"), strict=True)))
    assert (found.vois, found.lesions, len(found.jobs)) == (4, 2, 2)
    vois = {path.parent.parent.parent.name: set(read_json(path)) for path in to.rglob("vois.json")}
    assert sorted(map(len, vois.values())) == [1, 3] and set(vois) == {"validation", "test"}
    for name, said in ((None, "uls-data split"), ("../up", "not a folder name")):
        with pytest.raises(ManifestError, match=said):
            export(dict(zip(numbers, ("validation", name), strict=True)))
