"""nnU-Net's preprocessed dataset: what its own preprocessing makes, and what its trainer reads."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import blosc2
import nibabel
import numpy as np
import pytest
from makers.dataset import AFFINE, PATIENTS, name_of, write_dataset
from makers.shared import linked
from makers.vois import tiny_plan

from uls_data.cli import main
from uls_data.errors import ManifestError, SourceError
from uls_data.export import export_nnunet
from uls_data.manifest import read_table, write_manifest
from uls_data.network.checkpoint import load_model
from uls_data.network.plan import Intensities, Plan

HU = Intensities(
    mean=21.7, std=331.6, median=51, min=-2048, max=3071, percentile_00_5=-910, percentile_99_5=1672
)
# Axes z, y, x. A patch is smaller than a VOI, so that it matters where it lies.
PLAN = tiny_plan(batch_size=3).model_copy(
    update={"crop": (32, 64, 96), "pool": (1, 1, 1), "intensities": HU}
)
MEASURED = PLAN.model_copy(update={"intensities": "fingerprint"})
TRAIN = [name_of(number) for number, who in enumerate(PATIENTS) if who[0] == "p"]
EDGE, LOOSE, CUT = TRAIN[:3]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VOIs of which three hold HU 0 where nnU-Net takes it for the outside of the image."""
    out = tmp_path_factory.mktemp("build")
    write_dataset(out)
    images = {name: read(out / f"own/images/{name}.nii.gz").copy() for name in (EDGE, LOOSE, CUT)}
    images[EDGE][0, 10:20, 10:20] = 0  # at the border: outside
    images[EDGE][1, 12, 12] = 0
    images[EDGE][60, 60, 60] = 0  # a hole: inside
    images[LOOSE][200:210, 5, :] = 0
    images[CUT][images[CUT] == -1001] = 0  # padding of a scan whose values begin at 1
    for name, voxels in images.items():
        image = nibabel.Nifti1Image(voxels, AFFINE)
        (out / f"own/images/{name}.nii.gz").write_bytes(gzip.compress(image.to_bytes(), 1))
    return out


def read(path: Path) -> Any:
    return np.asarray(nibabel.load(path).dataobj)


def export(built: Path, to: Path, plan: Plan = PLAN, **options: Any) -> Path:
    found = export_nnunet(built, to, folds=2, preprocessed=True, plan=plan, **options)
    assert found.failed == [] and found.heldout == 0
    return found.path


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(built, tmp_path_factory.mktemp("nnUNet_preprocessed"))


def test_layout(built: Path, whole: Path) -> None:
    assert whole.name == "Dataset100_ULS"
    ends = (".b2nd", "_seg.b2nd", ".pkl")
    names = {f"tiny_3d_fullres/{name}{end}" for name in TRAIN for end in ends}
    names |= {f"gt_segmentations/{name}.nii.gz" for name in TRAIN}
    names |= {"dataset.json", "dataset_fingerprint.json", "splits_final.json", "tiny.json"}
    assert files(whole).keys() == names | {"uls-data.jsonl"}
    for name in TRAIN:
        truth = whole / f"gt_segmentations/{name}.nii.gz"
        assert truth.read_bytes() == (built / f"own/labels/{name}.nii.gz").read_bytes()
    plans = json.loads((whole / "tiny.json").read_bytes())
    assert plans["dataset_name"] == "Dataset100_ULS" and plans["plans_name"] == "tiny"
    assert plans["foreground_intensity_properties_per_channel"]["0"] == HU.model_dump()
    assert json.loads((whole / "dataset.json").read_bytes())["numTraining"] == len(TRAIN)


def test_arrays(built: Path, whole: Path) -> None:
    name = TRAIN[3]
    data = blosc2.open(str(whole / f"tiny_3d_fullres/{name}.b2nd"), mode="r")
    seg = blosc2.open(str(whole / f"tiny_3d_fullres/{name}_seg.b2nd"), mode="r")
    assert data.shape == seg.shape == (1, 128, 256, 256)
    assert (data.dtype, seg.dtype) == (np.float32, np.int16)
    hu = read(built / f"own/images/{name}.nii.gz").T
    expected = (np.clip(hu, -910, 1672) - 21.7) / 331.6
    assert np.allclose(data[0], expected, atol=1e-5)
    assert np.array_equal(seg[0], read(built / f"own/labels/{name}.nii.gz").T)


def test_folds_are_those_of_the_raw_form(built: Path, whole: Path, tmp_path: Path) -> None:
    raw = export_nnunet(built, tmp_path, folds=2)
    assert raw.heldout == 1
    for name in ("splits_final.json", "dataset.json"):
        assert (whole / name).read_bytes() == (raw.path / name).read_bytes()


def test_same_bytes_from_any_number_of_workers(built: Path, whole: Path, tmp_path: Path) -> None:
    assert files(export(built, tmp_path, workers=2)) == files(whole)


def test_an_interrupted_export_goes_on(built: Path, whole: Path, tmp_path: Path) -> None:
    to = linked(whole, tmp_path / whole.name)
    data = to / "tiny_3d_fullres"
    (data / f"{TRAIN[1]}.pkl").unlink()
    (data / f"{TRAIN[2]}.b2nd").unlink()
    (data / f"{TRAIN[2]}.b2nd").write_bytes(b"cut short")
    (data / ".tmp-0000-1").write_bytes(b"of a killed run")
    lines = (to / "uls-data.jsonl").read_bytes()
    (to / "uls-data.jsonl").unlink()
    (to / "uls-data.jsonl").write_bytes(lines[:-20])  # the last VOI's line is not whole
    asked: list[int] = []
    export(built, tmp_path, started=asked.append)
    assert asked == [6, 3] and files(to) == files(whole)
    with pytest.raises(SourceError, match="does not belong to this export"):
        (data / "another.b2nd").write_bytes(b"")
        export(built, tmp_path)


def test_other_intensities_are_other_files(built: Path, whole: Path, tmp_path: Path) -> None:
    to = linked(whole, tmp_path / whole.name)
    asked: list[int] = []
    export(built, tmp_path, MEASURED, started=asked.append)
    assert asked == [6, 6]
    wide = json.loads((to / "tiny.json").read_bytes())
    measured = json.loads((to / "dataset_fingerprint.json").read_bytes())
    key = "foreground_intensity_properties_per_channel"
    assert wide[key] == measured[key] != HU.model_dump()
    hu = [
        read(built / f"own/images/{name}.nii.gz")[read(built / f"own/labels/{name}.nii.gz") == 1]
        for name in TRAIN
    ]
    # Of the scan alone, without padding. Every VOI counts alike.
    rows = {row["voi_id"]: row for row in read_table(built).to_pylist()}
    inside = [v[v != rows[name]["pad_value_hu"]] for v, name in zip(hu, TRAIN, strict=True)]
    mean = np.mean([voxels.mean() for voxels in inside])
    assert measured[key]["0"]["mean"] == pytest.approx(mean, abs=1e-3)
    name = TRAIN[4]
    assert (to / f"tiny_3d_fullres/{name}.b2nd").read_bytes() != (
        whole / f"tiny_3d_fullres/{name}.b2nd"
    ).read_bytes()


def test_bad_vois_are_in_no_list(built: Path, whole: Path, tmp_path: Path, capsys: Any) -> None:
    copy, to = linked(built, tmp_path / "build"), linked(whole, tmp_path / whole.name)
    for path in (f"images/{TRAIN[0]}.nii.gz", f"labels/{TRAIN[2]}.nii.gz"):
        (copy / "own" / path).unlink()
    (copy / f"own/images/{TRAIN[0]}.nii.gz").write_bytes(b"no image")
    plan = tmp_path / "tiny.yaml"
    plan.write_text(PLAN.text())
    command = ["export", "nnunet", str(copy), "--to", str(tmp_path), "--folds", "2", "--workers"]
    with pytest.raises(SystemExit) as caught:
        main([*command, "0", "--preprocessed", "--plan", str(plan), "--json"])
    streams = capsys.readouterr()
    assert caught.value.code == 1 and TRAIN[0] in streams.err and TRAIN[2] in streams.err
    report = json.loads(streams.out)
    assert (report["train"], report["heldout"]) == (4, 0)
    splits = json.loads((to / "splits_final.json").read_bytes())
    listed = {name for fold in splits for name in fold["val"]}
    assert listed == {TRAIN[at] for at in (1, 3, 4, 5)}
    # What an earlier export left of them is gone: with fold `all`, nnU-Net trains on all there is.
    assert {path.stem for path in (to / "tiny_3d_fullres").glob("*.pkl")} == listed


def test_wrong_use(built: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="without a prompt"):
        export_nnunet(built, tmp_path, folds=2, preprocessed=True, plan="prompted")
    with pytest.raises(SourceError, match="rename the plan"):
        export(built, tmp_path, PLAN.model_copy(update={"name": "dataset"}))
    rows = read_table(built).to_pylist()
    for name, error, words in (
        ("x_seg", SourceError, "for labels"),
        ("../x", ManifestError, "not a valid name"),
    ):
        one = tmp_path / name[-1] / "manifest" / "own.parquet"
        renamed = {"voi_id": name}
        write_manifest([r | renamed if r["voi_id"] == EDGE else r for r in rows], one)
        with pytest.raises(error, match=words):
            export(one, tmp_path / "to")
    assert not (tmp_path / "to").exists()


# What follows runs nnU-Net's own code, which alone reads.


def nnunet(module: str) -> Any:
    return pytest.importorskip(
        f"nnunetv2.{module}", reason="nnunetv2 is not installed: pip install -e '.[nnunet]'"
    )


def loaded(whole: Path) -> Any:
    """nnU-Net's reader of the folder."""
    datasets = nnunet("training.dataloading.nnunet_dataset")
    reader = datasets.infer_dataset_class(str(whole / "tiny_3d_fullres"))
    assert reader is datasets.nnUNetDatasetBlosc2
    return reader(str(whole / "tiny_3d_fullres"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weak", ["leave-out", "ignore"])
def test_as_nnunets_own_preprocessing(built: Path, whole: Path, tmp_path: Path, weak: str) -> None:
    """Of the raw form and the same plans, value for value; its plans resample to what is there."""
    preprocessors = nnunet("preprocessing.preprocessors.default_preprocessor")
    handler = nnunet("utilities.plans_handling.plans_handler")
    raw = export_nnunet(built, tmp_path, folds=2, weak=weak).path
    ours = whole if weak == "leave-out" else export(built, tmp_path / "p", weak=weak)
    plans = json.loads((ours / "tiny.json").read_bytes())
    settings = plans["configurations"]["3d_fullres"]
    for kind in ("data", "seg"):  # 2.6.0 does not have the function that later versions have
        settings[f"resampling_fn_{kind}"] = settings["resampling_fn_probabilities"]
        settings[f"resampling_fn_{kind}_kwargs"] = {"is_seg": kind == "seg", "order": 1}
    settings["spacing"] = plans["original_median_spacing_after_transp"]  # that of all VOIs here
    plans = handler.PlansManager(plans)
    cases = loaded(ours)
    assert sorted(cases.identifiers) == sorted(TRAIN + [name_of(7)] * (weak == "ignore"))
    for name in cases.identifiers:
        data, seg, properties = preprocessors.DefaultPreprocessor(verbose=False).run_case(
            [str(raw / f"imagesTr/{name}_0000.nii.gz")],
            str(raw / f"labelsTr/{name}.nii.gz"),
            plans,
            plans.get_configuration("3d_fullres"),
            str(ours / "dataset.json"),
        )
        our_data, our_seg, _, our_properties = cases[name]
        assert our_data.dtype == data.dtype and np.array_equal(our_data[:], data), name
        assert np.array_equal(our_seg[:], seg), name
        places, our_places = (p.pop("class_locations") for p in (properties, our_properties))
        assert list(our_places) == list(places)
        assert np.array_equal(our_places[1], places[1])
        if weak == "ignore":
            # 2.6.0 finds background nowhere; from 2.6.4 on all that is annotated is drawn from.
            at = our_places[(-1, 0, 1)]
            assert {0} <= set(our_seg[:][tuple(at.T)]) <= {-1, 0, 1}
            assert len(np.unique(at, axis=0)) == len(at) >= 10_000
            theirs = places[(-1, 0, 1)]
            assert np.array_equal(at, theirs) or len(theirs) <= int((our_seg[:] == -1).sum())
        theirs, own = properties.pop("sitk_stuff"), our_properties.pop("sitk_stuff")
        assert own.keys() == theirs.keys()
        for key, value in theirs.items():
            assert own[key] == pytest.approx(value, abs=1e-5)
        assert our_properties == properties
    assert cases[CUT][0].shape == (1, 30, 50, 50)
    assert (cases[EDGE][1][:] == -1).sum() == 101


@pytest.mark.filterwarnings("ignore")
def test_nnunets_loader_finds_the_lesion(whole: Path) -> None:
    loaders = nnunet("training.dataloading.data_loader")
    handler = nnunet("utilities.plans_handling.plans_handler")
    plans = handler.PlansManager(str(whole / "tiny.json"))
    settings = plans.get_configuration("3d_fullres")
    labels = plans.get_label_manager(json.loads((whole / "dataset.json").read_bytes()))
    seen = set()
    patch = tuple(settings.patch_size)
    assert patch == PLAN.crop and settings.batch_size == 3
    for share in (1.0, 0.0):
        loader = loaders.nnUNetDataLoader(loaded(whole), 3, patch, patch, labels, share)
        hits = 0
        for _ in range(6):
            batch = next(loader)
            data, target = (np.asarray(batch[key]) for key in ("data", "target"))
            assert data.shape == target.shape == (3, 1, *patch)
            assert data.dtype == np.float32 and np.isfinite(data).all()
            hits += sum(bool((seg == 1).any()) for seg in target)
            seen |= set(batch["keys"])
        assert hits == 18 if share else hits < 18
    assert seen <= set(TRAIN) and len(seen) > 3


TRAINING = """
import json, os, sys, torch
from pathlib import Path
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
    DatasetFingerprintExtractor,
)
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    ExperimentPlanner,
)
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args

if __name__ == "__main__":
    verify_dataset_integrity(os.environ["nnUNet_raw"] + "/Dataset007_Raw", 1)
    DatasetFingerprintExtractor(7, 1).run()
    ExperimentPlanner(7)
    trainer = get_trainer_from_args("100", "3d_fullres", 0, plans_identifier="tiny",
                                    device=torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = 1, 2
    trainer.num_val_iterations_per_epoch = 1
    trainer.run_training()
    trainer.inference_allowed_mirroring_axes = None
    trainer.perform_actual_validation()
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    predictor.use_mirroring = False
    image = next(Path(os.environ["nnUNet_raw"]).glob("*/imagesTs/*.nii.gz"))
    try:
        shape = predictor.predict_single_npy_array(*SimpleITKIO().read_images([str(image)])).shape
    except RuntimeError as error:
        shape = str(error)
    Path("predicted.json").write_text(json.dumps(shape))
"""


@pytest.fixture(scope="module")
def trained(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nnU-Net planned the raw form, and trained on the preprocessed one."""
    nnunet("run.run_training")
    base = tmp_path_factory.mktemp("nnunet")
    large = PLAN.model_copy(update={"crop": (64, 128, 128)})
    export(built, base / "nnUNet_preprocessed", large)
    export_nnunet(built, base / "nnUNet_raw", number=7, name="Raw", folds=2)
    (base / "run.py").write_text(TRAINING)
    folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    few = {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}
    env = {**os.environ, **few, **{name: str(base / name) for name in folders}}
    run = [sys.executable, "run.py"]
    done = subprocess.run(run, cwd=base, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return base


@pytest.mark.slow
def test_nnunet_trains_and_validates_on_it(trained: Path) -> None:
    model = trained / "nnUNet_results/Dataset100_ULS/nnUNetTrainer__tiny__3d_fullres"
    summary = json.loads((model / "fold_0/validation/summary.json").read_bytes())
    splits = json.loads(
        (trained / "nnUNet_preprocessed/Dataset100_ULS/splits_final.json").read_bytes()
    )
    predicted = [Path(case["prediction_file"]) for case in summary["metric_per_case"]]
    assert sorted(p.name.removesuffix(".nii.gz") for p in predicted) == sorted(splits[0]["val"])
    for path in predicted:
        truth = nibabel.load(
            trained / "nnUNet_preprocessed/Dataset100_ULS/gt_segmentations" / path.name
        )
        mask = nibabel.load(path)
        assert mask.shape == truth.shape and np.allclose(mask.affine, truth.affine, atol=1e-4)
    predicted_from_file = json.loads((trained / "predicted.json").read_bytes())
    if find_spec("nnunetv2.preprocessing.resampling.no_resampling"):  # from 2.6.2 on
        assert predicted_from_file == [128, 256, 256]
    else:
        assert "no_resampling_hack" in predicted_from_file
    ours = load_model(model)
    assert ours.plan.architecture == PLAN.architecture and ours.intensities == HU


@pytest.mark.slow
def test_nnunet_plans_the_raw_form_with_our_folds(trained: Path) -> None:
    made = trained / "nnUNet_preprocessed" / "Dataset007_Raw"
    raw = trained / "nnUNet_raw" / "Dataset007_Raw"
    assert (made / "splits_final.json").read_bytes() == (raw / "splits_final.json").read_bytes()
    ours = trained / "nnUNet_preprocessed" / "Dataset100_ULS"
    theirs, own = (
        json.loads((folder / "dataset_fingerprint.json").read_bytes()) for folder in (made, ours)
    )
    assert own.keys() == theirs.keys()
    for key in ("spacings", "shapes_after_crop", "median_relative_size_after_cropping"):
        assert own[key] == theirs[key]
    key = "foreground_intensity_properties_per_channel"
    for name, value in theirs[key]["0"].items():
        # Theirs is a sample, with padding where a lesion reaches into it.
        assert own[key]["0"][name] == pytest.approx(value, abs=60), name
