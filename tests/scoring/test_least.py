"""The ellipsoid of the lines is shown beside every evaluation of 3D pseudo-masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.builds import ball, put, voi_row, write_rows

from uls_data.cli import main
from uls_data.manifest.row import Row
from uls_data.measure.overlap import dice
from uls_data.scoring.least import across, has_least, least, least_volume_mm3
from uls_data.scoring.volumes import evaluate, evaluate_ellipsoids

SPACING = (0.8, 0.8, 2.5)
LINES = [118.0, 128.0, 138.0, 128.0, 128.0, 121.0, 128.0, 135.0]


def pseudo(number: int, **changes: Any) -> Row:
    measured = {"recist_points_vox": LINES, "key_slice_voi": 64, "supervision": "pseudo_3d"}
    return voi_row("deeplesion", number, **{"layer": "pseudo3d-r1", **measured, **changes})


def test_it_is_drawn_within_the_scan() -> None:
    mask = least(pseudo(1))
    assert mask.shape == (256, 256, 128)
    # Half axes of 8 and 5.6 mm, half height sqrt(16 x 11.2) / 2 = 6.7 mm.
    assert mask.sum() * np.prod(SPACING) == pytest.approx(4 / 3 * np.pi * 8 * 5.6 * 6.69, rel=0.1)
    assert least_volume_mm3(pseudo(1)) == pytest.approx(np.pi / 6 * (16 * 11.2) ** 1.5)
    assert mask[:, :, 62:67].any(axis=(0, 1)).all() and not mask[:, :, :62].any()
    cut = least(pseudo(1, pad_before_z_vox=64, pad_after_x_vox=120))
    assert (cut == mask & (np.arange(128) >= 64) & (np.arange(256) < 136)[:, None, None]).all()


def test_it_reaches_as_far_as_the_source_says() -> None:
    further = pseudo(1, recist_outward_vox=0.5)
    assert least(further).sum() > 1.1 * least(pseudo(1)).sum()
    assert least_volume_mm3(further) == pytest.approx(np.pi / 6 * (16.8 * 12.0) ** 1.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"supervision": "weak_2d"},
        {"layer": "ellipsoid"},
        {"recist_points_vox": None},
        {"recist_points_vox": LINES[:6]},
        {"key_slice_voi": None},
        {"spacing_z_mm": None},
        {"spacing_x_mm": float("nan")},
    ],
)
def test_rows_that_have_none(changes: dict[str, Any]) -> None:
    assert has_least(pseudo(1)) and not has_least(pseudo(1, **changes))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four lesions: a mask, one that a filter removed, one nobody found, one without lines."""
    out = tmp_path_factory.mktemp("pred")
    lost = {"status": "skipped", "reason": "empty_prediction"}
    rows = [
        put(out, pseudo(1), ball(8)),
        put(out, pseudo(2), ball(12)) | {"status": "skipped", "reason": "filtered"},
        pseudo(3, **lost, label_path=None),
        put(out, pseudo(4, recist_points_vox=None), ball(8)),
    ]
    write_rows(out, rows, "pseudo3d-r1")
    truth = [put(out / "truth", voi_row("deeplesion", n), ball(9)) for n in (1, 2, 3, 4)]
    write_rows(out / "truth", truth)
    return out


def test_lesions_without_a_mask_have_an_ellipsoid_all_the_same(out: Path) -> None:
    found = evaluate(out / "manifest" / "pseudo3d-r1.parquet", out / "truth")
    assert [row["status"] for row in found.rows] == ["ok", "missing", "missing", "ok"]
    assert found.ellipsoid is not None
    expected = dice(least(pseudo(1)), ball(9) != 0)
    assert [row["dice"] for row in found.ellipsoid.rows] == [pytest.approx(expected)] * 3
    (gain,) = found.gain_on_ellipsoid()
    assert gain["lesions"] == 3 and gain["worse"] == 2
    assert gain["dice"] == pytest.approx((found.rows[0]["dice"] - 3 * expected) / 3)


def test_tables_and_files(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, truth = str(out / "manifest" / "pseudo3d-r1.parquet"), str(out / "truth")
    asked = ["evaluate", "--pred", pred, "--truth", truth, "--by", "all"]
    with pytest.raises(SystemExit):
        main([*asked, "--to", str(tmp_path)])
    assert "The ellipsoid of the lines, the least to beat" in capsys.readouterr().out
    assert len((tmp_path / "ellipsoid.csv").read_text().splitlines()) == 4
    assert (tmp_path / "gain_on_ellipsoid_by_all.csv").is_file()
    with pytest.raises(SystemExit):
        main([*asked, "--json"])
    kinds = [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()]
    assert kinds == ["voi"] * 4 + ["summary", "ellipsoid", "gain_on_ellipsoid"]


def test_masks_of_anything_else_have_none_beside_them(out: Path) -> None:
    assert evaluate(out / "truth", out / "truth").ellipsoid is None


def test_ellipsoids_across_true_masks(out: Path) -> None:
    found = evaluate_ellipsoids(out / "truth", vois={"case_00001_lesion_01_sample_0"})
    (row,) = found.rows
    # A ball of 9 voxels is squeezed along z by the spacing; its ellipsoid is round in mm.
    drawn = across(ball(9) != 0, SPACING)
    assert row["dice"] == pytest.approx(dice(drawn, ball(9) != 0))
    heights = np.flatnonzero(drawn.any(axis=(0, 1)))
    assert heights[0] == 64 - 2 and heights[-1] == 64 + 2


def test_a_round_mask_is_its_own_ellipsoid_and_a_speck_has_none() -> None:
    x, y, z = np.indices((30, 30, 30)) - 15
    mask = x**2 + y**2 + z**2 <= 100
    assert dice(across(mask, (1.0, 1.0, 1.0)), mask) > 0.95
    assert not across((x == 0) & (y == 0) & (z == 0), (1.0, 1.0, 1.0)).any()
