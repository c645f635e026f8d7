"""Masks that end where the network saw no farther."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from makers.vois import tiny_plan, write_voi, write_vois

from uls_data import predict, train
from uls_data.measure.lines import Lines
from uls_data.network.lesion import Box
from uls_data.network.plan import Prompt
from uls_data.network.prompt import Drawn, Frame
from uls_data.network.view import View
from uls_data.network.voxels import CENTRE_ZYX, Region

CROP = (16, 32, 32)
CORNER = (56, 112, 112)


def seen(corner: tuple[int, int, int] = CORNER, frame: Frame | None = None) -> View:
    empty = np.zeros(CROP, np.int16)
    return View(Region(empty, empty.astype(np.uint8), (8, 16, 16)), corner, frame)


def box(*ends: tuple[int, int]) -> Box:
    z, y, x = (slice(low, high) for low, high in ends)
    return z, y, x


@pytest.mark.parametrize(
    ("mask", "cut"),
    [
        (box((57, 71), (113, 143), (113, 143)), False),
        (box((56, 71), (113, 143), (113, 143)), True),
        (box((57, 72), (113, 143), (113, 143)), True),
        (box((57, 71), (113, 144), (113, 143)), True),
        (box((57, 71), (113, 143), (112, 143)), True),
    ],
)
def test_a_mask_at_the_border_of_the_crop_is_cut(mask: Box, cut: bool) -> None:
    assert seen().cuts(mask) is cut


def test_the_border_of_the_voi_is_not_that_of_the_crop() -> None:
    # Such a mask is flagged by the border that it touches.
    assert not seen((0, 112, 112)).cuts(box((0, 15), (113, 143), (113, 143)))
    assert not seen((112, 112, 112)).cuts(box((113, 128), (113, 143), (113, 143)))
    assert not seen((-8, 112, 112)).cuts(box((0, 7), (113, 143), (113, 143)))


def test_a_frame_cuts_where_it_ends() -> None:
    z, y, x = CENTRE_ZYX
    lines = Lines.of([[x - 10, y], [x + 10, y], [x, y - 10], [x, y + 10]])
    frame = Frame.about(Drawn(lines, z, (1.0, 1.0, 1.0)), Prompt(), CROP)
    view = seen((0, 0, 0), frame)
    low, _, _ = (part.start for part in frame.box((128, 256, 256)))
    assert 0 < low < z - 20
    assert view.cuts(box((low, z), (y, y + 1), (x, x + 1)))
    assert not view.cuts(box((low + 1, z), (y, y + 1), (x, x + 1)))


def test_predicted_rows_tell_which_masks_were_cut(tmp_path: Path) -> None:
    points = [118.0, 128.0, 138.0, 128.0, 128.0, 118.0, 128.0, 138.0]
    row = write_voi(tmp_path, "p1", 10, recist_points_vox=points, key_slice_voi=64)
    write_vois(tmp_path, [row])
    plan = tiny_plan()
    told = plan.model_copy(update={"prompt": Prompt(), "pool": (1, 1, 1)})
    flags = {}
    for name, chosen in (("click", plan), ("lines", told)):
        model = tmp_path / name
        train(tmp_path, model, plan=chosen, device="cpu", workers=1, steps=1)
        if name == "click":
            calls_all_lesion(model / "fold_0" / "checkpoint_final.pth")
        report = predict(tmp_path, model, tmp_path / "out", layer=name, device="cpu", workers=1)
        flags[name] = report.rows[0]["qc_flags"]
    assert "cut_by_view" in flags["click"]
    # One step leaves hardly more than the ellipsoid of the lines, which is half as wide as seen.
    assert "cut_by_view" not in flags["lines"]


def calls_all_lesion(checkpoint: Path) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    for name, weights in stored["network_weights"].items():
        if "seg_layers" in name and name.endswith("bias"):
            weights[1] = 1e3
    checkpoint.chmod(0o644)
    torch.save(stored, checkpoint)
