"""`evaluate`: what is matched, what counts, what is missing, and two models side by side."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.perturbed import crop, perturbed
from numpy.typing import NDArray

from uls_data.cli import main
from uls_data.errors import ManifestError, SourceError
from uls_data.manifest import write_manifest
from uls_data.nifti_writer import nifti_gz
from uls_data.scoring.aggregates import Bootstrap
from uls_data.scoring.challenge import score
from uls_data.scoring.collection import collect
from uls_data.scoring.job import write_json, writing
from uls_data.scoring.volumes import evaluate
from uls_data.voi import VOI_SHAPE

Mask = NDArray[np.bool_]
SPACING = (0.7, 0.7, 2.5)


# Of the masks in files: nothing but the challenge's stacks needs whole VOIs.
SHAPE, CENTRE = (44, 40, 26), (22, 20, 13)
EMPTY = np.zeros(SHAPE, bool)


def affine_at(moved: tuple[int, ...] = (0, 0, 0)) -> NDArray[np.float64]:
    """Of a VOI whose click lies so many voxels from that of another."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = np.array([-100, 50, 20]) + np.multiply(moved, SPACING)
    return affine


def ball(radius: float, moved: tuple[int, ...] = (0, 0, 0), shape: tuple[int, ...] = SHAPE) -> Mask:
    small = np.subtract(np.indices(SHAPE).T, np.add(CENTRE, moved)).T
    mask = np.zeros(shape, bool)
    mask[: SHAPE[0], : SHAPE[1], : SHAPE[2]] = (small**2 * [[[[1]]], [[[1]]], [[[9]]]]).sum(
        0
    ) <= radius**2
    return mask


def put(folder: Path, name: str, mask: Mask, affine: NDArray[np.float64] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = nifti_gz(mask.astype(np.uint8), affine_at() if affine is None else affine)
    (folder / f"{name}.nii.gz").write_bytes(data)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients; one lesion with three clicks; one mask missing, one damaged, one empty."""
    root = tmp_path_factory.mktemp("masks")
    truth, pred, weak = root / "truth", root / "pred", root / "weak"
    for number, radius in enumerate((9, 12, 5), 1):
        name = f"bone_{number:05d}_lesion_01"
        put(truth, name, ball(radius))
        put(pred, name, ball(radius + 1))
        put(weak, name, ball(radius + 3))
    put(truth, "bone_00003_lesion_02", ball(7))
    put(truth, "bone_00003_lesion_03", ball(7))
    (pred / "bone_00003_lesion_03.nii.gz").write_bytes(b"no mask")
    put(truth, "bone_00003_lesion_04", ball(7))
    put(pred, "bone_00003_lesion_04", EMPTY)
    for sample, moved in enumerate(((0, 0, 0), (3, -2, 1), (-4, 0, -1))):
        name = f"liver_7_lesion_01_sample_{sample}"
        back = tuple(-by for by in moved)
        put(truth, name, ball(10, back), affine_at(moved))
        put(pred, name, ball(10 + sample, back), affine_at(moved))
    put(pred, "not_in_the_truth", ball(3))
    return root


def test_rows_and_means(folders: Path) -> None:
    found = evaluate(folders / "pred", folders / "truth")
    rows = {row["voi_id"]: row for row in found.rows}
    assert len(rows) == 9 and "not_in_the_truth" not in rows
    assert rows["bone_00001_lesion_01"]["dice"] == score(ball(10), ball(9))["dice"]
    assert rows["bone_00003_lesion_02"]["status"] == "missing"
    damaged = rows["bone_00003_lesion_03"]
    assert (damaged["status"], damaged["dice"], damaged["long_sape"]) == ("failed", 0, 1)
    assert rows["bone_00003_lesion_04"]["status"] == "ok"  # an empty mask is an answer
    assert {row["voi_id"] for row in found.failed} == {
        "bone_00003_lesion_02",
        "bone_00003_lesion_03",
    }
    # The first click of a lesion counts; further ones give its consistency.
    assert [rows[f"liver_7_lesion_01_sample_{k}"]["counts"] for k in range(3)] == [
        True,
        False,
        False,
    ]
    same = rows["liver_7_lesion_01_sample_0"]
    assert same["pairs"] == 3
    sizes = [int(ball(10 + k).sum()) for k in range(3)]
    pairs = [2 * sizes[a] / (sizes[a] + sizes[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert same["consistency"] == same["consistency_corrected"] == pytest.approx(np.mean(pairs))
    (whole,) = found.summary()
    counted = [row for row in found.rows if row["counts"]]
    assert (whole["lesions"], whole["patients"], whole["missing"]) == (7, 4, 2)
    assert whole["dice"] == pytest.approx(np.mean([row["dice"] for row in counted]), abs=1e-15)
    assert whole["dice_std"] == pytest.approx(np.std([row["dice"] for row in counted], ddof=1))
    assert whole["challenge_score"] == pytest.approx(
        0.8 * whole["dice"]
        + 0.05 * (1 - whole["long_sape"])
        + 0.05 * (1 - whole["short_sape"])
        + 0.1 * same["consistency"]
    )
    assert whole["dice_low"] <= whole["dice"] <= whole["dice_high"]
    assert {row["group"] for row in found.summary("lesion_type")} == {"bone", "liver"}
    bone = next(row for row in found.summary("lesion_type") if row["group"] == "bone")
    assert bone["consistency"] is None and bone["challenge_score"] is None


def test_two_models(folders: Path, tmp_path: Path) -> None:
    found = evaluate(folders / "pred", folders / "truth", against=folders / "weak")
    (gain,) = found.comparison()
    shared = [row for row in found.rows if row["counts"]]
    assert gain["lesions"] == len(shared) == 7
    assert gain["better"] == 4 and gain["equal"] == 3 and gain["worse"] == gain["sign_change"] == 0
    values = [row["difference"] for row in found.differences]
    assert values == sorted(values) and gain["dice_median"] == statistics.median(values)
    assert gain["dice"] == pytest.approx(np.mean(values))
    found.write(tmp_path)
    assert (tmp_path / "comparison.png").stat().st_size > 5000
    with (tmp_path / "vois.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 9
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    (whole,) = found.summary()
    assert metrics["aggregates"]["ChallengeScore"] == whole["challenge_score"]
    assert metrics["aggregates"]["SegmentationDice"]["count"] == 7
    same = evaluate(folders / "pred", folders / "truth", against=folders / "pred")
    assert same.comparison()[0]["dice_low"] == same.comparison()[0]["dice_high"] == 0


def test_a_model_is_not_better_by_chance_alone() -> None:
    """Lesions of one patient move together: the interval is that of patients, not lesions."""
    rng = np.random.default_rng(0)
    level = rng.normal(0, 1, 12)
    values = np.repeat(level, 50) + rng.normal(0, 0.01, 600)
    by_patient = Bootstrap(np.repeat(np.arange(12), 50).tolist()).means(values.tolist())
    by_lesion = Bootstrap(list(range(600))).means(values.tolist())
    assert by_patient.std() > 4 * by_lesion.std()
    assert by_patient.std() == pytest.approx(level.std() / np.sqrt(12), rel=0.1)
    assert np.isnan(Bootstrap(["a", "a"]).means([0.1, 0.9])).all()


def test_headers_that_disagree_are_compared_index_by_index(tmp_path: Path) -> None:
    put(tmp_path / "truth", "a_lesion_01", ball(9))
    put(tmp_path / "pred", "a_lesion_01", ball(9), np.eye(4))
    # The same place, written by a program that stores x and y the other way round.
    turned = affine_at() @ np.array(
        [[-1, 0, 0, SHAPE[0] - 1], [0, -1, 0, SHAPE[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1.0]]
    )
    put(tmp_path / "turned", "a_lesion_01", ball(9)[::-1, ::-1], turned)
    for pred in ("pred", "turned"):
        (row,) = evaluate(tmp_path / pred, tmp_path / "truth").rows
        assert (row["status"], row["dice"]) == ("ok", 1.0)
    unsure = np.where(ball(9), 1, np.nan).astype(np.float32)
    (tmp_path / "nan").mkdir()
    nibabel.save(nibabel.Nifti1Image(unsure, affine_at()), tmp_path / "nan" / "a_lesion_01.nii.gz")
    (row,) = evaluate(tmp_path / "nan", tmp_path / "truth").rows
    assert (row["status"], row["reason"], row["dice"]) == ("failed", "not_finite", 0)
    small = EMPTY[:30]
    put(tmp_path / "small", "a_lesion_01", small)
    (row,) = evaluate(tmp_path / "small", tmp_path / "truth").rows
    assert (row["status"], row["reason"]) == ("failed", "grid_mismatch")


def manifest_of(folder: Path, layers: tuple[str, ...]) -> Path:
    rows: list[dict[str, Any]] = []
    for layer in layers:
        for sample, radius in enumerate((9, 10)):
            put(folder / "s" / "labels" / layer, f"v_{sample}", ball(radius - len(layer) / 4))
            rows.append(
                {
                    "source": "s",
                    "case_id": "c",
                    "lesion_index": 1,
                    "sample_index": sample,
                    "layer": layer,
                    "status": "ok",
                    "voi_id": f"v_{sample}",
                    "patient_id": "p",
                    "lesion_type": "bone",
                    "supervision": "full",
                    "label_path": f"s/labels/{layer}/v_{sample}.nii.gz",
                    "affine": affine_at().ravel().tolist(),
                }
            )
    write_manifest(rows, folder / "manifest" / "s.parquet")
    return folder


def test_layers_of_a_manifest(tmp_path: Path) -> None:
    truth = manifest_of(tmp_path / "truth", ("annotated", "reader-1"))
    pred = manifest_of(tmp_path / "pred", ("pseudo3d-r1", "pseudo3d-r2"))
    with pytest.raises(ManifestError, match="several layers"):
        evaluate(pred, truth)
    with pytest.raises(ManifestError, match="no layer 'jury'"):
        evaluate(pred, truth, layer="jury")
    found = evaluate(pred, truth / "manifest" / "s.parquet", layer="pseudo3d-r1")
    assert [row["patient"] for row in found.rows] == ["p", "p"]
    assert found.rows[0]["dice"] == score(ball(9 - 11 / 4), ball(9 - 9 / 4))["dice"]
    assert found.rows[0]["pairs"] == 1
    # Of a model's masks beside the truth they are meant, of the truth itself the truth is.
    mixed = manifest_of(tmp_path / "mixed", ("annotated", "pseudo3d-r1"))
    assert evaluate(mixed, mixed).rows[0]["dice"] == found.rows[0]["dice"]
    own = evaluate(truth, truth, layer="reader-1", truth_layer="reader-1")
    assert own.summary()[0]["dice"] == 1


def test_the_challenge_s_own_layout(tmp_path: Path) -> None:
    """Stacks, with `multi_sample.json` taken as it stands: floored, comments and all."""
    big, small = (ball(radius, shape=VOI_SHAPE) for radius in (9, 8))
    truth, pred = [small, big, small], [big, big, np.zeros(VOI_SHAPE, bool)]
    for folder, masks in (("ground-truth", truth), ("answer", pred)):
        with writing(tmp_path / folder / "any.mha", "uint8") as stack:
            for mask in masks:
                stack.put(mask.astype(np.uint8))
    gt = tmp_path / "ground-truth"
    write_json(gt / "stacked_spacing.json", [SPACING] * 3)
    write_json(gt / "single_sample.json", [0, 1])
    (gt / "multi_sample.json").write_text(
        f"[ // lesions\n [[0, 1, [{3 * 0.7}, -0.1, 2.4]], [0, 2, [0, 0, 0]], [1, 2, [0, 0, 0]]]]"
    )
    found = evaluate(tmp_path / "answer", gt)
    rows = {row["voi_id"]: row for row in found.rows}
    assert [row["counts"] for row in rows.values()] == [True, True, False]
    moved = np.roll(pred[1], (-2, 1, 0), axis=(0, 1, 2))  # floor: 2, -1, -0
    dice = 2 * (pred[0] & moved).sum() / (pred[0].sum() + moved.sum())
    assert rows["000"]["consistency"] == pytest.approx(dice / 3, abs=1e-15)
    moved = np.roll(pred[1], (-3, 0, 1), axis=(0, 1, 2))  # nearest: 3, 0, -1
    dice = 2 * (pred[0] & moved).sum() / (pred[0].sum() + moved.sum())
    assert rows["000"]["consistency_corrected"] == pytest.approx(dice / 3, abs=1e-15)
    assert found.summary()[0]["lesions"] == 2
    for bad in ([0, 7], [-1], ["a"], None):
        write_json(gt / "single_sample.json", bad)
        with pytest.raises(ManifestError, match="does not fit the stack"):
            evaluate(tmp_path / "answer", gt)
    write_json(gt / "single_sample.json", [0, 1])
    for bad in ([[[0, 1, [1e300, 0, 0]]]], [[[0, 1, [0, 0]]]], [[[0, 9, [0, 0, 0]]]], [7]):
        write_json(gt / "multi_sample.json", bad)
        with pytest.raises(ManifestError, match="does not fit the stack"):
            evaluate(tmp_path / "answer", gt)


def test_a_name_twice(folders: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        put(tmp_path / "truth" / place, "bone_00001_lesion_01", ball(9))
    assert len(evaluate(folders / "pred", tmp_path / "truth").rows) == 1
    put(tmp_path / "truth" / "b", "bone_00001_lesion_01", ball(8))
    with pytest.raises(ManifestError, match="two masks of bone_00001_lesion_01"):
        evaluate(folders / "pred", tmp_path / "truth")


def test_nothing_to_score(folders: Path, tmp_path: Path) -> None:
    put(tmp_path / "others", "somebody_else", ball(3))
    with pytest.raises(ManifestError, match="none of its masks has the name"):
        evaluate(tmp_path / "others", folders / "truth")
    with pytest.raises(SourceError):
        evaluate(tmp_path / "absent", folders / "truth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        evaluate(folders / "pred", tmp_path / "empty")


def test_command_line(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, truth = str(folders / "pred"), str(folders / "truth")
    base = ["evaluate", "--pred", pred, "--truth", truth, "--against", str(folders / "weak")]
    base += ["--workers", "0"]
    with pytest.raises(SystemExit) as caught:
        main([*base, "--json"])
    streams = capsys.readouterr()
    assert caught.value.code == 1 and "bone_00003_lesion_02" in streams.err
    lines = [json.loads(line) for line in streams.out.splitlines()]
    kinds = [line["kind"] for line in lines]
    assert kinds.count("voi") == 9 and kinds.count("summary") == kinds.count("comparison") == 3
    with pytest.raises(SystemExit) as caught:
        main([*base, "--to", str(tmp_path / "to")])
    out = capsys.readouterr().out
    assert "±" in out and "Gain on the other model" in out and "2 VOIs without" in out
    assert (tmp_path / "to" / "metrics.json").is_file()
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "--help"])
    assert caught.value.code == 0 and "uls-data evaluate" in capsys.readouterr().out


@pytest.mark.real
def test_published_labels_against_perturbed_copies(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "uls23-labels" / "NIH_LN_MED"
    expected = {}
    for voi_id, item in list(collect(folder).items.items())[:5]:
        (tmp_path / "truth").mkdir(exist_ok=True)
        (tmp_path / "truth" / item.path.name).symlink_to(item.path)
        mask, affine, _ = item.read()
        assert affine is not None
        small = perturbed(crop(mask), voi_id, 0)
        where = np.argwhere(mask).min(axis=0) - 8
        found = np.zeros_like(mask)
        found[tuple(slice(a, a + n) for a, n in zip(where, small.shape, strict=True))] = small
        put(tmp_path / "pred", voi_id, found, affine)
        expected[voi_id] = score(small, crop(mask))
    rows = evaluate(tmp_path / "pred", tmp_path / "truth").rows
    assert len(rows) == 5
    for row in rows:
        assert (row["status"], row["lesion_type"]) == ("ok", "lymph_node")
        for measure in ("dice", "long_sape", "short_sape"):
            assert row[measure] == expected[row["voi_id"]][measure]
