"""Model folders of nnU-Net v2, both ways; hostile checkpoints are never run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers.vois import tiny_plan

from uls_data.network.architecture import build_network
from uls_data.network.checkpoint import (
    Model,
    load_model,
    nnunet_checkpoint,
    read_checkpoint,
    write_checkpoint,
    write_model_files,
)
from uls_data.network.nnunet_model import nnunet_plans, plan_from_nnunet
from uls_data.network.plan import Intensities, ModelError, Plan, load_plan

PAPER = load_plan("baseline").intensities
assert isinstance(PAPER, Intensities)


def whole_plan() -> Plan:
    """Without crop and pool, which nnU-Net does not know."""
    plan = tiny_plan()
    return plan.model_copy(update={"pool": (1, 1, 1), "crop": (32, 64, 64), "intensities": PAPER})


def write_model(folder: Path, plan: Plan) -> Any:
    network = build_network(plan.architecture, 3)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    write_model_files(folder, plan, 7)
    content = nnunet_checkpoint(plan, network, optimizer, None, 2, {"seed": 3})
    write_checkpoint(folder / "fold_0" / "checkpoint_final.pth", content)
    return network.eval()


def image() -> torch.Tensor:
    return torch.randn(1, 1, 32, 64, 64, generator=torch.Generator().manual_seed(1))


def test_our_folder_comes_back(tmp_path: Path) -> None:
    plan = whole_plan()
    network = write_model(tmp_path, plan)
    for path in (tmp_path, tmp_path / "fold_0" / "checkpoint_final.pth"):
        model = load_model(path)
        assert model.plan == plan and model.record["seed"] == 3
        with torch.inference_mode():
            assert torch.equal(model.logits(image()), network(image()))
    assert load_plan(tmp_path / "plan.yaml") == plan


def test_plans_alone_are_enough(tmp_path: Path) -> None:
    """A folder without our record, as nnU-Net leaves it."""
    network = write_model(tmp_path, whole_plan())
    stored = read_checkpoint(tmp_path / "fold_0" / "checkpoint_final.pth")
    del stored["uls_data"]
    torch.save(stored, tmp_path / "fold_0" / "checkpoint_final.pth")
    model = load_model(tmp_path)
    assert model.plan.architecture == whole_plan().architecture and model.record == {}
    assert model.intensities == PAPER and model.plan.crop == (32, 64, 64) and model.notes == ()
    with torch.inference_mode():
        assert torch.equal(model.logits(image()), network(image()))


@pytest.mark.parametrize("name", ["baseline", "small"])
def test_plans_file_and_back(name: str) -> None:
    plan = load_plan(name).model_copy(update={"intensities": PAPER})
    document = json.loads(json.dumps(nnunet_plans(plan, PAPER)))
    back, _ = plan_from_nnunet(document, "3d_fullres", "plans.json")
    assert (back.architecture, back.intensities) == (plan.architecture, PAPER)
    assert back.network_shape == plan.network_shape


def test_older_form_of_plans_and_inheritance() -> None:
    document = nnunet_plans(whole_plan(), PAPER)
    settings = document["configurations"]["3d_fullres"]
    del settings["architecture"]
    settings |= {
        "UNet_class_name": "ResidualEncoderUNet",
        "UNet_base_num_features": 32,
        "unet_max_num_features": 384,
        "n_conv_per_stage_encoder": [1, 3, 4, 6, 6, 6, 6],
        "n_conv_per_stage_decoder": [1] * 6,
        "pool_op_kernel_sizes": [[1, 1, 1], *[[2, 2, 2]] * 5, [1, 2, 2]],
        "conv_kernel_sizes": [[3, 3, 3]] * 7,
        "patch_size": [128, 256, 256],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
    }
    document["configurations"]["3d_fullres_bs4"] = {
        "inherits_from": "3d_fullres",
        "batch_size": 4,
    }
    plan, notes = plan_from_nnunet(document, "3d_fullres_bs4", "plans.json")
    assert plan.architecture == load_plan("baseline").architecture
    assert plan.training.batch_size == 4 and "resampled" in notes[0]


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        part = document
        *way, last = path.split("/")
        for name in way:
            part = part[name]
        part[last] = value

    return change


KWARGS = "configurations/3d_fullres/architecture/arch_kwargs"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (f"{KWARGS}/nonlin", "os.system", "nonlin 'os.system'"),
        (f"{KWARGS}/norm_op", "torch.nn.BatchNorm3d", "norm_op"),
        (f"{KWARGS}/conv_bias", False, "bias"),
        (f"{KWARGS}/features_per_stage", [1], "architecture"),
        ("configurations/3d_fullres/architecture/network_class_name", "a.Other", "a.Other"),
        ("configurations/3d_fullres/normalization_schemes", ["ZScore"], "CTNormalization"),
        ("configurations/3d_fullres/inherits_from", "3d_fullres", "no usable configuration"),
        ("configurations", {}, "no usable configuration"),
        ("transpose_forward", [1, 0, 2], "axes"),
        ("foreground_intensity_properties_per_channel", {"0": {}}, "mean"),
    ],
)
def test_plans_that_are_none_of_ours(path: str, value: Any, words: str) -> None:
    document = json.loads(json.dumps(nnunet_plans(whole_plan(), PAPER)))
    _set(path, value)(document)
    with pytest.raises(ModelError, match=r"plans\.json") as caught:
        plan_from_nnunet(document, "3d_fullres", "plans.json")
    assert words in str(caught.value)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


def test_checkpoints_are_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": {}, "x": Evil()}, path)
    with pytest.raises(ModelError, match="Other content is never run") as caught:
        read_checkpoint(path)
    assert "(it names " in str(caught.value) and "weights_only" not in str(caught.value)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError):
        read_checkpoint(path)
    assert not (tmp_path / "evil").exists()
    for content in (b"", b"PK\3\4", b"\x80\x02."):
        path.write_bytes(content)
        with pytest.raises(ModelError):
            read_checkpoint(path)
    torch.save([1], path)
    with pytest.raises(ModelError, match="network_weights"):
        read_checkpoint(path)


def test_numbers_of_numpy_are_read(tmp_path: Path) -> None:
    """nnU-Net logs them into its checkpoints."""
    path = tmp_path / "checkpoint_final.pth"
    logged = {"dice": [np.float64(0.5), np.float32(0.25), np.int64(3)], "all": np.arange(3.0)}
    torch.save({"network_weights": {"a": torch.ones(1)}, "logging": logged}, path)
    stored = read_checkpoint(path)
    assert stored["logging"]["dice"] == [0.5, 0.25, 3]
    assert stored["logging"]["all"].tolist() == [0, 1, 2]


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    write_model(tmp_path, whole_plan())
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    stored = read_checkpoint(path)
    names = list(stored["network_weights"])
    wrapped = {f"_orig_mod.{name}": value for name, value in stored["network_weights"].items()}
    torch.save({**stored, "network_weights": wrapped}, path)
    assert isinstance(load_model(tmp_path), Model)
    del stored["network_weights"][names[0]]
    torch.save(stored, path)
    with pytest.raises(ModelError, match="do not fit"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match=r"no fold_\*"):
        load_model(tmp_path / "fold_0")


# What follows runs nnU-Net's own code; `pip install nnunetv2==2.6.0` beside the package.


@pytest.fixture
def nnunet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return pytest.importorskip(
        "nnunetv2.inference.predict_from_raw_data",
        reason="nnunetv2 is not installed: pip install -e '.[nnunet]'",
    )


@pytest.mark.filterwarnings("ignore")
def test_nnunet_reads_our_folder(nnunet: Any, tmp_path: Path) -> None:
    ours = write_model(tmp_path / "m", whole_plan())
    predictor = nnunet.nnUNetPredictor(
        device=torch.device("cpu"), perform_everything_on_device=False
    )
    predictor.initialize_from_trained_model_folder(str(tmp_path / "m"), None)
    with torch.inference_mode():
        theirs = predictor.network.eval()(image())
        difference = (theirs - ours(image())).abs().max()
    assert float(difference) <= 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["residual_encoder", "plain"])
def test_we_read_a_folder_that_nnunets_trainer_wrote(
    nnunet: Any, tmp_path: Path, kind: str
) -> None:
    trainers = pytest.importorskip("nnunetv2.training.nnUNetTrainer.nnUNetTrainer")
    plan = whole_plan()
    architecture = plan.architecture.model_copy(update={"kind": kind})
    plan = plan.model_copy(update={"architecture": architecture})
    plans = nnunet_plans(plan, PAPER)
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    trainer = trainers.nnUNetTrainer(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    trainer.network = trainer.build_network_architecture(
        trainer.configuration_manager.network_arch_class_name,
        trainer.configuration_manager.network_arch_init_kwargs,
        trainer.configuration_manager.network_arch_init_kwargs_req_import,
        1,
        2,
        enable_deep_supervision=True,
    )
    trainer.optimizer, _ = trainer.configure_optimizers()
    trainer.logger.log("train_losses", np.float32(0.5), 0)
    trainer.logger.log("lrs", np.float64(0.01), 0)
    folder = tmp_path / "m"
    (folder / "fold_0").mkdir(parents=True)
    trainer.save_checkpoint(str(folder / "fold_0" / "checkpoint_best.pth"))
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    model = load_model(folder)
    trainer.network.decoder.deep_supervision = False
    with torch.inference_mode():
        difference = (model.logits(image()) - trainer.network.eval()(image())).abs().max()
    assert float(difference) <= 1e-4
