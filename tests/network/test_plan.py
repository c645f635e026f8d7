"""Plans: the paper's network to the parameter, and what is wrong with a plan in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from uls_data.network.architecture import build_network, cost
from uls_data.network.plan import ModelError, Plan, load_plan, parse_plan, plan_names


def analytic(plan: Plan) -> tuple[int, int]:
    """Parameters and operations of a residual encoder U-Net, counted by hand."""
    parts = plan.architecture
    parameters = operations = 0
    shape = list(plan.network_shape)
    shapes = []

    def conv(inputs: int, outputs: int, kernel: int, at: list[int], norm: bool, bias: bool) -> None:
        nonlocal parameters, operations
        parameters += kernel * inputs * outputs + outputs * bias + 2 * outputs * norm
        operations += 2 * kernel * inputs * outputs * at[0] * at[1] * at[2]

    features = parts.features
    conv(1, features[0], 27, shape, True, True)
    before = features[0]
    for stage, width in enumerate(features):
        fine = shape
        shape = [n // s for n, s in zip(shape, parts.strides[stage], strict=True)]
        shapes.append(shape)
        for block in range(parts.blocks[stage]):
            conv(before, width, 27, shape, True, True)
            conv(width, width, 27, shape, True, True)
            if before != width:
                conv(before, width, 1, shape, True, False)  # the skip, after pooling
            before = width
            assert block >= 0 and fine
    for stage in reversed(range(len(features) - 1)):
        coarse, width = features[stage + 1], features[stage]
        stride = parts.strides[stage + 1]
        taps = stride[0] * stride[1] * stride[2]
        parameters += taps * coarse * width + width
        below = shapes[stage + 1]
        operations += 2 * taps * coarse * width * below[0] * below[1] * below[2]
        conv(2 * width, width, 27, shapes[stage], True, True)
        conv(width, 2, 1, shapes[stage], False, True)
    return parameters, operations


def test_baseline_is_the_papers_network() -> None:
    plan = load_plan("baseline")
    parameters, operations = cost(plan)
    assert parameters == 190_062_284
    assert round(operations / 1e12, 2) == 5.82
    assert (parameters, operations) == analytic(plan)
    assert plan.network_shape == (128, 256, 256)
    assert plan.architecture.reduction == (32, 64, 64)


def test_small_is_small() -> None:
    plan = load_plan("small")
    parameters, operations = cost(plan)
    assert (parameters, operations) == analytic(plan)
    assert operations < 2e9


def test_weights_come_from_the_seed() -> None:
    parts = load_plan("small").architecture
    one, same, other = (build_network(parts, seed).state_dict() for seed in (1, 1, 2))
    assert all((one[name] == same[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)


@pytest.mark.parametrize("kind", ["residual_encoder", "plain"])
def test_a_network_begins_by_calling_little_lesion(kind: str) -> None:
    """From 50 % of the voxels a short training overshoots to none, and may stay there."""
    parts = load_plan("small").architecture.model_copy(update={"kind": kind})
    images = torch.randn(2, 1, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        with torch.no_grad():
            share = build_network(parts, seed).eval()(images).softmax(1)[:, 1]
        assert 0.001 < float(share.mean()) < 0.15


def test_a_copied_plan_is_the_same(tmp_path: Path) -> None:
    assert plan_names() == ["baseline", "prompted", "small"]
    for name in plan_names():
        (tmp_path / "mine.yaml").write_text(load_plan(name).text(), encoding="utf-8")
        assert load_plan(tmp_path / "mine.yaml") == load_plan(name)


def test_line_channels_are_named_in_the_plan() -> None:
    plain = load_plan("prompted")
    assert plain.channels == 4 and "channels" not in plain.text()
    document = plain.model_dump(mode="json")
    document["prompt"]["channels"] = ["radius", "lines", "likeness"]
    more = parse_plan(document, "mine")
    assert more.channels == 5 and parse_plan(yaml.safe_load(more.text()), "mine") == more
    assert build_network(more.architecture, 0, more.channels)(
        torch.zeros(1, 5, 16, 16, 16)
    ).shape == (1, 2, 16, 16, 16)


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (["key", "radius"], "radius first"),
        (["radius", "key", "key"], "at most once"),
        ([], "radius first"),
        (["radius", "colour"], "Input should be"),
    ],
)
def test_wrong_line_channels_say_what_is_wrong(channels: list[str], words: str) -> None:
    document = load_plan("prompted").model_dump(mode="json")
    document["prompt"]["channels"] = channels
    with pytest.raises(ModelError, match="mine: prompt") as caught:
        parse_plan(document, "mine")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop": [32, 100, 96]}, "crop: 100 along y is not a multiple"),
        ({"crop": [512, 96, 96]}, "crop: z must be even and at most 128"),
        ({"pool": [1, 2]}, "pool"),
        ({"colour": 1}, "colour: Extra inputs"),
        ({"plan_version": 2}, "plan_version"),
        ({"intensities": "guess"}, "intensities"),
        ({"training": {"batch_size": 0}}, "training.batch_size"),
        ({"architecture": {"blocks": [1]}}, "blocks: 4 stages need 4 entries, found 1"),
        ({"architecture": {"strides": [[2, 2, 2]] * 4}}, "the first must be"),
        ({"architecture": {"kernels": [[2, 2, 2]] * 4}}, "must be odd"),
    ],
)
def test_wrong_plans_say_what_is_wrong(change: dict[str, Any], words: str) -> None:
    document = load_plan("small").model_dump(mode="json")
    for name, value in change.items():
        if isinstance(value, dict):
            document[name] = {**document[name], **value}
        else:
            document[name] = value
    with pytest.raises(ModelError, match="mine") as caught:
        parse_plan(document, "mine")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "a: !!python/name:os.system x", "\0"])
def test_files_that_are_no_plans(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ModelError):
        load_plan(tmp_path / "p.yaml")
    with pytest.raises(ModelError, match="baseline, prompted, small"):
        load_plan("smal")
    assert yaml.safe_load(load_plan("small").text())["name"] == "small"
