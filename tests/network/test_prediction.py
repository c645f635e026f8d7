"""Prediction: right masks, the same ones in any company, and on after any end."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from makers.vois import ball, tiny_plan, write_voi, write_vois

from uls_data import export_grand_challenge, load_manifest
from uls_data.cli import main
from uls_data.cli.predict import command
from uls_data.manifest.parquet import iterate_rows
from uls_data.measure.overlap import dice
from uls_data.network.checkpoint import load_model
from uls_data.network.examples import find_examples, find_vois
from uls_data.network.inference import Predictor, Settings
from uls_data.network.plan import ModelError
from uls_data.network.prediction import LAYER, predict, predict_vois
from uls_data.network.prediction_report import PredictReport
from uls_data.network.stack_prediction import padding_of, predict_stack
from uls_data.network.training import train
from uls_data.network.voxels import image_of, read_image
from uls_data.scoring.job import Stack

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(vois: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained until it knows a bright ball from noise."""
    out = tmp_path_factory.mktemp("model")
    plan = tiny_plan(learning_rate=0.05, augment=False)
    train(vois, out, plan=plan, device="cpu", steps=60, workers=1)
    return out


def run(vois: Path, model: Path, out: Path, **options: Any) -> PredictReport:
    return predict(vois, model, out, **{"device": "cpu", "workers": 1, **options})


def tree(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def predicted(vois: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predicted")
    report = run(vois, model, out)
    assert report.counts == {"ok": 6} and report.precision == "float32"
    return out


def test_what_to_do_next_is_said_where_images_lie_elsewhere(
    vois: Path, model: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: object) -> str:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        assert caught.value.code == 0
        streams = capsys.readouterr()
        return " ".join((streams.out + streams.err).split())

    again = ("--model", model, "--device", "cpu", "--out")
    assert "give `train`, `evaluate` and `report` both" in told(
        "predict", "--manifest", vois, *again, predicted
    )
    kept = tmp_path / "kept.parquet"
    words = told("filter", "--manifest", predicted, "--out", kept, "--rule", "mask_voxels < 0")
    assert "another layer, that counts instead (2D masks too)" in words
    assert f"train --manifest BUILD {kept} (the images are in BUILD)" in words
    # Into the build's own folder: one manifest more there, and nothing to be told.
    whole = tmp_path / "vois"
    shutil.copytree(vois, whole)
    assert "stay where they are" not in told("predict", "--manifest", whole, *again, whole)
    rows = load_manifest(whole / "manifest" / "pseudo3d-r1.parquet")
    assert all((whole / name).is_file() for name in rows["image_path"]) and len(rows) == 6
    words = told("filter", "--manifest", whole / "manifest/pseudo3d-r1.parquet", "--out", kept)
    assert "BUILD" not in words


def test_masks_and_what_rows_say_of_them(vois: Path, model: Path, predicted: Path) -> None:
    rows = load_manifest(predicted).set_index("voi_id")
    assert set(rows["layer"]) == {"pseudo3d-r1"} and set(rows["parent_layer"]) == {"annotated"}
    assert set(rows["supervision"]) == {"pseudo_3d"}
    assert set(rows["model_sha256"]) == {load_model(model).sha256}
    assert rows["image_path"].isna().all()
    for name, row in rows.iterrows():
        mask = np.asarray(nibabel.load(predicted / row["label_path"]).dataobj)
        truth = np.asarray(nibabel.load(vois / f"s/labels/{name}.nii").dataobj)
        part = (slice(112, 144), slice(112, 144), slice(56, 72))  # what the plan sees
        assert dice(mask[part], truth[part]) > 0.85
        assert mask.sum() == mask[part].sum() == row["mask_voxels"]
        assert row["teacher_saw_lesion"] == (row["case_id"] != "p9")
        scores = {score["measure"]: score["value"] for score in row["candidate_scores"]}
        assert scores["mean_probability"] > 0.5 and 0 < scores["entropy_bits"] < 1
        assert row["predicted_dice"] == scores["soft_dice"] > 0.5


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 5, "workers": 3}])
def test_same_masks_in_any_company(
    vois: Path, model: Path, predicted: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    run(vois, model, tmp_path / "all", **options)
    assert tree(tmp_path / "all") == tree(predicted)
    one = [example for example in find_vois(vois) if example.row["case_id"] == "p3"]
    settings = Settings(device="cpu", **{"workers": 1, **options})
    predict_vois(one, model, tmp_path / "alone", LAYER, settings)
    (alone,) = iterate_rows(tmp_path / "alone" / "manifest" / "pseudo3d-r1.parquet")
    rows = {r["case_id"]: r for r in iterate_rows(predicted / "manifest" / "pseudo3d-r1.parquet")}
    assert alone == rows["p3"]


class StopError(Exception):
    pass


def test_goes_on_where_it_ended(vois: Path, model: Path, predicted: Path, tmp_path: Path) -> None:
    left = [3]

    def progress(_count: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise StopError

    with pytest.raises(StopError):
        run(vois, model, tmp_path, progress=progress)
    journal = tmp_path / "manifest" / ".pseudo3d-r1.journal"
    with journal.open("a") as file:
        file.write('[["s", "p4"')  # a line that a kill cut off
    (tmp_path / "s/labels/pseudo3d-r1/p0_lesion_01_sample_0.nii.gz").write_bytes(b"half")
    assert run(vois, model, tmp_path).resumed == 2
    assert tree(tmp_path) == tree(predicted)
    assert run(vois, model, tmp_path).resumed == 6
    with pytest.raises(ModelError, match="another prediction"):
        run(vois, model, tmp_path, tta=True)


def test_too_little_memory_halves_what_is_in_flight(vois: Path, model: Path) -> None:
    examples = find_examples(vois).train
    loaded = load_model(model)
    predictor = Predictor(loaded, CPU)
    regions = [(e, read_image(e, loaded.plan.crop)) for e in examples]
    whole = [answer.margin for _, answer in predictor.answers(regions, 4)]
    inside, failures = predictor._launch, [4, 5]
    calls = 0

    def launch(region: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in failures:
            failures.remove(calls)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inside(region)

    predictor._launch = launch  # type: ignore[method-assign]
    told: list[int] = []
    with pytest.raises(ModelError, match="single VOI"):
        list(predictor.answers(regions, 4, told.append))
    assert told == [2]
    failures, calls = [3], 0
    again = [answer.margin for _, answer in predictor.answers(regions, 4, told.append)]
    assert told == [2, 2] and len(again) == len(whole)
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))


def test_mirrored_views_are_averaged(vois: Path, model: Path) -> None:
    example = find_examples(vois).train[1]
    loaded = load_model(model)
    region = read_image(example, loaded.plan.crop)
    ((_, answer),) = Predictor(loaded, CPU, mirror=True).answers([(0, region)])
    image = image_of(region, loaded.intensities)
    total, votes = np.zeros(image.shape), np.zeros(image.shape, int)
    for flips in np.ndindex(2, 2, 2):
        axes = tuple(axis for axis, flip in enumerate(flips) if flip)
        view = torch.from_numpy(np.flip(image, axes).copy())[None, None]
        with torch.inference_mode():
            logits = loaded.logits(view)[0].numpy()
        margin = np.flip(logits[1] - logits[0], axes)
        total += margin / 8
        votes += margin > 0
    assert np.allclose(answer.margin, total, atol=1e-4)
    assert answer.votes is not None and (answer.votes != votes).mean() < 1e-3


def test_views_and_clicks_are_measured(vois: Path, model: Path, tmp_path: Path) -> None:
    report = run(vois, model, tmp_path, tta=True, jitter=2)
    for row in report.rows:
        scores = {score["measure"]: score["value"] for score in row["candidate_scores"]}
        assert 0 <= scores["view_disagreement"] < 0.3
        assert 0.5 < scores["click_dice"] <= 1


def test_a_dry_run_touches_nothing(vois: Path, model: Path, tmp_path: Path) -> None:
    first = run(vois, model, tmp_path / "out", dry_run=True)
    assert (first.vois, first.resumed, first.rows) == (len(run(vois, model, tmp_path).rows), 0, [])
    assert not (tmp_path / "out").exists()
    journal = tmp_path / "manifest" / ".pseudo3d-r1.journal"
    before = journal.stat().st_mtime_ns
    arguments = ["--manifest", str(vois), "--model", str(model), "--out", str(tmp_path)]
    shown = CliRunner().invoke(command, [*arguments, "--dry-run", "--device", "cpu"])
    assert f"{first.vois} VOIs, {first.vois} done before" in shown.stdout
    assert journal.stat().st_mtime_ns == before


def test_a_broken_voi_is_a_row(vois: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "vois"
    rows = [write_voi(out, "a"), write_voi(out, "b"), write_voi(out, "c", hu=-150)]
    write_vois(out, rows)
    (out / "s/images/a_lesion_01_sample_0.nii").write_bytes(b"nothing")
    result = CliRunner().invoke(
        command, ["--manifest", str(out), "--model", str(model), "--out", str(tmp_path), "--json"]
    )
    told = json.loads(result.stdout)
    assert (told["ok"], told["skipped"], told["failed"]) == (1, 1, 1)
    rows = list(iterate_rows(tmp_path / "manifest" / "pseudo3d-r1.parquet"))
    assert [row["reason"] for row in rows] == ["unreadable", None, "empty_prediction"]
    assert rows[2]["status"] == "skipped" and "a_lesion_01" in result.stderr


def test_weak_rows_carry_their_measurement_and_train(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "vois"
    points = [120.0, 128.0, 136.0, 128.0, 128.0, 120.0, 128.0, 136.0]
    weak = {
        "supervision": "weak_2d", "layer": "jury", "key_slice_voi": 64,
        "recist_long_vox": 16.0, "recist_short_vox": 16.0, "recist_points_vox": points,
    }  # fmt: skip
    write_vois(out, [write_voi(out, f"w{n}", 8, **weak) for n in range(2)])
    report = run(out, model, tmp_path / "pseudo")
    for row in report.rows:
        assert abs(row["key_slice_long_error_vox"]) < 2 and row["key_slice_dice"] > 0.85
        # Lines across a ball may turn: their ends lie on the circle, but not at these places.
        assert 0 <= row["endpoint_distance_vox"] <= 16
        assert row["parent_layer"] == "jury" and row["key_slice_voi"] == 64
    found = find_examples([out, tmp_path / "pseudo"], layers=["pseudo3d-r1"])
    assert [e.image_root for e in found.train] == [out, out]
    trained = train(
        [out, tmp_path / "pseudo"], tmp_path / "m", plan=tiny_plan(), layers=["pseudo3d-r1"],
        steps=1, device="cpu",
    )  # fmt: skip
    assert (trained.trained, trained.failed) == (2, [])


@pytest.fixture
def stack(vois: Path, tmp_path: Path) -> Iterator[Path]:
    export_grand_challenge(vois, tmp_path / "challenge")
    (path,) = (tmp_path / "challenge").rglob("*volumes/*.mha")
    yield path


def test_a_stack_gives_the_same_masks(
    model: Path, predicted: Path, stack: Path, tmp_path: Path
) -> None:
    target = predict_stack(stack, model, tmp_path / "answer", device="cpu")
    assert target.parent == tmp_path / "answer" / "images" / "ct-binary-uls"
    answer, images = Stack(target), Stack(stack)
    labels = sorted(predicted.rglob("*.nii.gz"))
    assert len(answer) == len(images) == len(labels)
    for number, label in enumerate(labels):
        assert np.array_equal(answer[number], np.asarray(nibabel.load(label).dataobj))


def test_padding_is_found_by_its_value() -> None:
    voi = np.full((256, 256, 128), -1025)
    voi[3:, :250, 10:100] = ball(20)[3:, :250, 10:100]
    found = padding_of(voi)
    assert found == {
        "pad_before_x_vox": 3, "pad_after_x_vox": 0, "pad_before_y_vox": 0,
        "pad_after_y_vox": 6, "pad_before_z_vox": 10, "pad_after_z_vox": 28,
    }  # fmt: skip
