"""nnU-Net v2's plans and dataset files, from a plan and back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from uls_data.network.plan import Architecture, Intensities, ModelError, Plan, load_plan, parse_plan

CONFIGURATION = "3d_fullres"
_MODULE = "dynamic_network_architectures.architectures.unet"
_CLASSES = {"residual_encoder": "ResidualEncoderUNet", "plain": "PlainConvUNet"}
_BLOCKS = {"residual_encoder": "n_blocks_per_stage", "plain": "n_conv_per_stage"}
# What a network may be made of; a plans file names classes, and none other is ever imported.
_MADE_OF: dict[str, set[str | None]] = {
    "conv_op": {"Conv3d"},
    "norm_op": {"InstanceNorm3d"},
    "nonlin": {"LeakyReLU"},
    "dropout_op": {None},
}
# nnU-Net has it from 2.6.2 on. Older versions train without it, and refuse to predict from files
# rather than resample them: `spacing` is not that of the VOIs.
_RESAMPLING = "no_resampling_hack"
# All versions have this one. Predictions already have the size of their images: it changes nothing.
_BACK = "resample_data_or_seg_to_shape"
_BACK_KWARGS = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
_MAXIMUM_BYTES = 1 << 26


def nnunet_plans(plan: Plan, intensities: Intensities) -> dict[str, Any]:
    """Content of `plans.json` for a trained plan.

    nnU-Net has no word for `crop` and `pool`: it slides a patch of that size over the image and
    does not pool. Where a plan has them, this file says so under `uls_data`.
    """
    architecture = plan.architecture
    kernels, strides = ([list(size) for size in sizes] for sizes in _sizes(architecture))
    return {
        "dataset_name": "Dataset100_ULS",
        "plans_name": plan.name,
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": list(plan.crop),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities.model_dump()},
        "uls_data": {"crop": list(plan.crop), "pool": list(plan.pool)},
        "configurations": {
            CONFIGURATION: {
                "data_identifier": f"{plan.name}_{CONFIGURATION}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": plan.training.batch_size,
                "patch_size": list(plan.network_shape),
                "median_image_size_in_voxels": list(plan.crop),
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": _RESAMPLING,
                "resampling_fn_data_kwargs": {},
                "resampling_fn_seg": _RESAMPLING,
                "resampling_fn_seg_kwargs": {},
                "resampling_fn_probabilities": _BACK,
                "resampling_fn_probabilities_kwargs": _BACK_KWARGS,
                "batch_dice": False,
                "architecture": {
                    "network_class_name": f"{_MODULE}.{_CLASSES[architecture.kind]}",
                    "arch_kwargs": {
                        "n_stages": len(architecture.features),
                        "features_per_stage": list(architecture.features),
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": kernels,
                        "strides": strides,
                        _BLOCKS[architecture.kind]: list(architecture.blocks),
                        "n_conv_per_stage_decoder": list(architecture.decoder_convs),
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def nnunet_dataset(training: int) -> dict[str, Any]:
    """Content of `dataset.json`."""
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": training,
        "file_ending": ".nii.gz",
    }


def nnunet_files(plan: Plan, intensities: Intensities, training: int) -> dict[str, Any]:
    """Files of a model folder, by name."""
    plans, dataset = nnunet_plans(plan, intensities), nnunet_dataset(training)
    return {"plans.json": plans, "dataset.json": dataset}


def plan_from_nnunet(plans: Any, configuration: str, where: str) -> tuple[Plan, tuple[str, ...]]:
    """Plan of a model folder that nnU-Net wrote, and what to know about it.

    Both forms of plans are read: with an `architecture`, and the older one with
    `UNet_class_name`. Training settings are those of `baseline`.

    Raises
    ------
    ModelError
        Not such plans, or a network that we cannot run; the message says which part.
    """
    try:
        settings = _configuration(plans, configuration, where)
        architecture = _architecture(settings, where)
        properties = plans["foreground_intensity_properties_per_channel"]
        if len(properties) != 1 or settings["normalization_schemes"] != ["CTNormalization"]:
            raise ModelError(f"{where}: expected one channel with CTNormalization")
        if list(plans["transpose_forward"]) != [0, 1, 2]:
            raise ModelError(f"{where}: expected axes z, y, x, found {plans['transpose_forward']}")
        names = Intensities.model_fields
        numbers = {name: properties["0"][name] for name in names}
        baseline = load_plan("baseline")
        document = {
            "plan_version": 1,
            "name": re.sub(r"[^A-Za-z0-9_.-]", "_", str(plans["plans_name"]))[:64],
            "architecture": architecture,
            "crop": settings["patch_size"],
            "intensities": numbers,
            "training": {
                **baseline.training.model_dump(),
                "batch_size": settings["batch_size"],
            },
        }
        resampling = str(settings["resampling_fn_data"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"{where}: not plans of nnU-Net v2: {error!r} is missing") from error
    notes = []
    if not resampling.startswith("no_resampling"):
        notes.append(
            f"trained by nnU-Net on images resampled to {settings.get('spacing')} mm (z, y, x); "
            "here it sees VOIs as they are"
        )
    return parse_plan(document, where), tuple(notes)


def read_json(path: Path) -> Any:
    """Content of a JSON file of a model folder."""
    try:
        if path.stat().st_size > _MAXIMUM_BYTES:
            raise ModelError(f"{path}: larger than {_MAXIMUM_BYTES} bytes: no plans")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a readable JSON file: {error}") from error


def _sizes(architecture: Architecture) -> tuple[Any, Any]:
    return architecture.kernels, architecture.strides


def _configuration(plans: Any, name: str, where: str) -> dict[str, Any]:
    """Merge the settings of one configuration with those that it inherits."""
    chain: list[dict[str, Any]] = []
    seen: set[str] = set()
    following: str | None = name
    while following is not None:
        if following in seen or following not in plans["configurations"]:
            raise ModelError(f"{where}: no usable configuration {following!r}")
        seen.add(following)
        chain.append(plans["configurations"][following])
        following = chain[-1].get("inherits_from")
    return {key: value for part in reversed(chain) for key, value in part.items()}


def _architecture(settings: dict[str, Any], where: str) -> dict[str, Any]:
    if "architecture" in settings:
        kind = settings["architecture"]["network_class_name"]
        given = settings["architecture"]["arch_kwargs"]
        for part, allowed in _MADE_OF.items():
            name = given.get(part)
            if (name.rsplit(".", 1)[-1] if isinstance(name, str) else name) not in allowed:
                raise ModelError(f"{where}: {part} {name!r} is not supported, only {allowed}")
        norm = given.get("norm_op_kwargs") or {}
        if not given.get("conv_bias") or norm != {"eps": 1e-5, "affine": True}:
            raise ModelError(f"{where}: expected convolutions with bias and affine norms, eps 1e-5")
    else:
        kind, stages = settings["UNet_class_name"], len(settings["pool_op_kernel_sizes"])
        base, most = settings["UNet_base_num_features"], settings["unet_max_num_features"]
        given = {
            "features_per_stage": [min(base * 2**i, most) for i in range(stages)],
            "strides": settings["pool_op_kernel_sizes"],
            "kernel_sizes": settings["conv_kernel_sizes"],
            "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
            **dict.fromkeys(_BLOCKS.values(), settings["n_conv_per_stage_encoder"]),
        }
    kinds = {name: ours for ours, name in _CLASSES.items()}
    ours = kinds.get(str(kind).rsplit(".", 1)[-1])
    if ours is None:
        raise ModelError(f"{where}: network {kind!r} is not supported, only {', '.join(kinds)}")
    document = {
        "kind": ours,
        "features": given["features_per_stage"],
        "strides": given["strides"],
        "kernels": given["kernel_sizes"],
        "blocks": given[_BLOCKS[ours]],
        "decoder_convs": given["n_conv_per_stage_decoder"],
    }
    try:
        return Architecture.model_validate(document).model_dump()
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ModelError(f"{where}: architecture: {wrong['loc']}: {wrong['msg']}") from error
