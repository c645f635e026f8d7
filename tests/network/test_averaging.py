"""Several models as one: the mean of their logits in any order, and what they must share."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from makers.vois import tiny_plan

from uls_data.manifest.parquet import iterate_rows
from uls_data.network.checkpoint import Model, load_model
from uls_data.network.examples import find_examples
from uls_data.network.inference import Predictor
from uls_data.network.plan import ModelError, Plan
from uls_data.network.prediction import predict
from uls_data.network.training import train
from uls_data.network.voxels import read_image

CPU = torch.device("cpu")


def trained(vois: Path, out: Path, seed: int, leave_out: tuple[str, ...] = ()) -> Path:
    plan = tiny_plan(learning_rate=0.05, augment=False)
    plan = with_numbers(plan)
    train(vois, out, plan=plan, device="cpu", steps=20, seed=seed, workers=1, leave_out=leave_out)
    return out


def with_numbers(plan: Plan) -> Plan:
    """Plan with numbers: two trainings on other lesions measure other intensities."""
    numbers = {"mean": 60, "std": 12, "median": 60, "min": 10, "max": 110}
    limits = {"percentile_00_5": 20, "percentile_99_5": 100}
    return Plan.model_validate(
        {**plan.model_dump(mode="json"), "intensities": {**numbers, **limits}}
    )


@pytest.fixture(scope="module")
def models(vois: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [trained(vois, folder / str(seed), seed) for seed in (1, 2)]


def margin(model: Model, vois: Path) -> np.ndarray:
    example = find_examples(vois).train[1]
    region = read_image(example, model.plan.crop)
    ((_, answer),) = Predictor(model, CPU).answers([(0, region)])
    return answer.margin


def test_margins_are_averaged(vois: Path, models: list[Path]) -> None:
    one, other = (margin(load_model(model), vois) for model in models)
    assert np.abs(one - other).max() > 0.1
    together = load_model(models)
    assert np.allclose(margin(together, vois), (one + other) / 2, atol=1e-5)
    region = read_image(find_examples(vois).train[1], together.plan.crop)
    ((_, answer),) = Predictor(together, CPU, mirror=True).answers([(0, region)])
    assert answer.views == 16 and answer.votes is not None and answer.votes.max() == 16


def test_order_does_not_matter_and_rows_say_how_they_disagree(
    vois: Path, models: list[Path], tmp_path: Path
) -> None:
    for name, order in (("a", models), ("b", models[::-1])):
        predict(vois, order, tmp_path / name, device="cpu", workers=1)
    rows = [list(iterate_rows(tmp_path / x / "manifest/pseudo3d-r1.parquet")) for x in "ab"]
    assert rows[0] == rows[1]
    assert {row["model_sha256"] for row in rows[0]} == {load_model(models).sha256}
    assert load_model(models).sha256 not in {load_model(model).sha256 for model in models}
    for row in rows[0]:
        scores = {score["measure"]: score["value"] for score in row["candidate_scores"]}
        assert 0 <= scores["view_disagreement"] <= 1
    with pytest.raises(ModelError, match="another prediction"):
        predict(vois, models[0], tmp_path / "a", device="cpu", workers=1)


def test_folds_of_a_folder_are_averaged(vois: Path, models: list[Path], tmp_path: Path) -> None:
    shutil.copytree(models[0], tmp_path / "m")
    shutil.copytree(models[1] / "fold_0", tmp_path / "m" / "fold_1")
    assert load_model(tmp_path / "m").sha256 == load_model(models).sha256
    assert load_model(tmp_path / "m", fold="1").sha256 == load_model(models[1]).sha256
    plan = load_model(models[0]).plan
    with pytest.raises(ModelError, match="several folds"):
        train(vois, tmp_path / "t", init=tmp_path / "m", plan=plan, device="cpu", steps=1)


def test_lesions_that_any_of_them_saw(vois: Path, models: list[Path], tmp_path: Path) -> None:
    patients = load_model(models[0]).record["patients"]
    assert len(patients) == 5
    other = trained(vois, tmp_path / "m", 3, leave_out=(patients[0],))
    assert patients[0] not in load_model(other).record["patients"]
    assert load_model([other, models[0]]).record["patients"] == sorted(patients)


def test_what_cannot_be_averaged(vois: Path, models: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="given twice"):
        load_model([models[0], models[0]])
    with pytest.raises(ModelError, match="no model given"):
        load_model([])
    measured = tiny_plan(learning_rate=0.05, augment=False)
    train(vois, tmp_path, plan=measured, device="cpu", steps=1, workers=1)
    with pytest.raises(ModelError, match="other intensities cannot be averaged"):
        load_model([models[0], tmp_path])
