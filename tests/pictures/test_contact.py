"""Contact sheets: what is drawn lies where it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from makers.labels import write_out

from uls_data.manifest import write_manifest
from uls_data.nifti_writer import nifti_gz
from uls_data.pictures import contact
from uls_data.pictures.contact import Tile, draw_tile
from uls_data.pictures.window import LUNG_WINDOW_HU, SOFT_WINDOW_HU, window_of


def tile(**changes: object) -> Tile:
    hu = np.full((64, 80), 40, np.int16)
    mask = np.zeros((64, 80), bool)
    mask[20:40, 30:44] = True
    known: dict[str, object] = {
        "hu": hu,
        "padded": np.zeros_like(mask),
        "masks": {"jury": mask},
        "points": np.array([[20, 37], [39, 37], [30, 30], [30, 43]], float),
        "window_hu": SOFT_WINDOW_HU,
        "caption": ("a", "b"),
    }
    return Tile(**{**known, **changes})  # type: ignore[arg-type]


def test_patient_right_is_left_and_front_is_top() -> None:
    hu = np.full((64, 64), -1000, np.int16)
    hu[50:, 50:] = 400  # high x: the patient's right; high y: the front
    picture = np.asarray(
        draw_tile(tile(hu=hu, padded=hu == 0, masks={"jury": hu > 0}, points=None))
    )
    panel = picture[: contact._PANEL, : contact._PANEL, 0]
    assert panel[5, 5] == 255
    assert panel[-5, -5] == 0


def test_outline_runs_round_the_mask() -> None:
    one = tile()
    panel = np.asarray(draw_tile(one))[: contact._PANEL, 2 * (contact._PANEL + contact._GAP) :]
    coloured = (panel != panel[:, :, :1]).any(axis=2)
    (x0, y0), side = contact._view(one)
    scale = contact._PANEL / side
    rows, columns = np.nonzero(coloured)
    x = x0 + side - (np.array([columns.max(), columns.min()]) + 0.5) / scale - 0.5
    y = y0 + side - (np.array([rows.max(), rows.min()]) + 0.5) / scale - 0.5
    assert x == pytest.approx([19.5, 39.5], abs=0.5)
    assert y == pytest.approx([29.5, 43.5], abs=0.5)


def test_padding_has_a_colour_of_its_own() -> None:
    padded = np.zeros((64, 80), bool)
    padded[:, :30] = True
    panel = np.asarray(draw_tile(tile(padded=padded)))[: contact._PANEL, : contact._PANEL]
    assert tuple(panel[-3, 5]) == contact._PADDING


def test_window_follows_the_type_or_the_surroundings() -> None:
    mask = np.zeros((40, 40), bool)
    mask[15:25, 15:25] = True
    lung, soft = np.full((40, 40), -850), np.full((40, 40), 30)
    assert window_of("lung", soft, mask) == LUNG_WINDOW_HU == (-1200, 200)
    assert window_of("kidney", lung, mask) == SOFT_WINDOW_HU == (-135, 215)
    assert window_of("unknown", lung, mask) == LUNG_WINDOW_HU
    assert window_of("various", soft, mask) == SOFT_WINDOW_HU


def test_a_lesion_at_the_edge_of_the_slice() -> None:
    mask = np.zeros((64, 80), bool)
    mask[0:3, 76:80] = True
    assert draw_tile(tile(masks={"jury": mask}, points=None)).size[0] == 3 * contact._PANEL + 12


def test_what_only_some_readers_marked_has_a_colour() -> None:
    """Of three readers: inside the majority's mask one left out, outside of it one put in."""
    votes = np.zeros((64, 80), np.uint8)
    votes[20:40, 30:44] = 3
    votes[24:30, 32:40] = 2
    votes[40:44, 30:44] = 1
    plain, seen = (
        np.asarray(draw_tile(tile(points=None, **more)))[
            : contact._PANEL, 2 * (contact._PANEL + contact._GAP) :
        ].astype(int)
        for more in ({}, {"votes": votes, "readers": 3})
    )
    (x0, y0), side = contact._view(tile())
    scale = contact._PANEL / side

    def there(x: float, y: float) -> tuple[int, ...]:
        column, row = ((end + side - at - 0.5) * scale for end, at in ((x0, x), (y0, y)))
        return tuple((seen - plain)[int(row), int(column)].tolist())

    assert there(36, 34) == there(12, 50) == (0, 0, 0)
    red, green, _ = there(42, 36)
    assert red > green + 40
    red, green, _ = there(27, 36)
    assert green > red + 40


def test_a_lesion_of_one_voxel_has_a_picture(tmp_path: Path) -> None:
    """It has no axes, and so no slice of the longest."""
    mask = np.zeros((256, 256, 128), np.uint8)
    mask[128, 128, 64] = 1
    (row,) = write_out(tmp_path, {(1, "annotated"): mask})
    assert row["long_axis_slice_voi"] is None
    image = tmp_path / row["image_path"]
    image.parent.mkdir()
    image.write_bytes(nifti_gz(np.zeros((256, 256, 128), np.int16), np.eye(4)))
    (found,) = contact._tiles(tmp_path, "", 9, None)
    assert found.masks["annotated"].sum() == 1


def test_the_slice_on_which_readers_differ_most(tmp_path: Path) -> None:
    """The sheet shows slice 70, not the longest axis': two readers agree on all others."""
    masks = {}
    for layer in ("annotated", "reader-1", "reader-2"):
        masks[1, layer] = np.zeros((256, 256, 128), np.uint8)
        masks[1, layer][120:140, 120:140, 60:75] = 1
    masks[1, "reader-2"][120:130, 120:140, 70] = 0
    rows = write_out(tmp_path, masks)
    image = tmp_path / rows[0]["image_path"]
    image.parent.mkdir()
    image.write_bytes(nifti_gz(np.zeros((256, 256, 128), np.int16), np.eye(4)))
    rows = [{**row, "uncertainty": 0.02 if row["layer"] == "annotated" else None} for row in rows]
    write_manifest(rows, tmp_path / "manifest" / "own.parquet")
    (found,) = contact._tiles(tmp_path, 'layer == "annotated"', 9, "-uncertainty")
    assert found.readers == 2 and found.votes is not None
    assert (found.votes == 1).sum() == 200 and (found.votes == 2).sum() == 200
    assert "mean Dice of its readers 0.98" in found.caption[1]
