"""Builds of sources whose lesions are measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from demo.sources import make_archives
from uls_data import build
from uls_data.errors import SourceError
from uls_data.measure.axes import measure
from uls_data.measure.lines import Lines

GEOMETRY = ["quarter_ellipses", "ellipse"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archives(tmp_path_factory.mktemp("raw"), only=["deeplesion"])["deeplesion"]


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def made(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["status"] == "ok"]


def test_a_better_mask_moves_no_image(raw: Path, tmp_path: Path) -> None:
    geometry = build("deeplesion", raw, tmp_path / "a", masks=GEOMETRY)
    other = build("deeplesion", raw, tmp_path / "b", masks=["grabcut"])
    images = {row["voi_id"]: row["image_sha256"] for row in made(geometry.rows)}
    assert images == {row["voi_id"]: row["image_sha256"] for row in made(other.rows)}
    assert {row["layer"] for row in made(other.rows)} == {"grabcut"}


def test_rows_say_what_was_measured_and_what_was_made(raw: Path, tmp_path: Path) -> None:
    rows = made(build("deeplesion", raw, tmp_path, masks=["jury", *GEOMETRY]).rows)
    assert {row["layer"] for row in rows} == {"jury", *GEOMETRY}
    for row in rows:
        label = np.asarray(nibabel.load(tmp_path / row["label_path"]).dataobj)
        assert set(np.flatnonzero(label.any(axis=(0, 1)))) == {row["key_slice_voi"]} == {64}
        assert label[128, 128, 64] == 1
        lines = Lines.of(row["recist_points_vox"])
        assert row["recist_outward_vox"] == 0.5  # the recipe of DeepLesion says so
        assert lines.long_vox == pytest.approx(row["recist_long_vox"], abs=1e-4)
        found = measure(label)
        error = found.long_vox - row["recist_long_vox"]
        assert row["key_slice_long_error_vox"] == pytest.approx(error)
        assert row["supervision"] == "weak_2d"
        assert row["image_path"] is not None
        for x, y in lines.points:
            near = np.argwhere(label[:, :, 64]) - (x, y)
            assert np.hypot(*near.T).min() < 2
    jury = [row for row in rows if row["layer"] == "jury"]
    assert all(0 < row["predicted_dice"] <= 1 for row in jury)
    assert all(row["candidate_scores"] for row in jury)


def test_the_same_tree_with_workers_and_one_by_one(raw: Path, tmp_path: Path) -> None:
    methods = ["jury", "grabcut"]
    whole = build("deeplesion", raw, tmp_path / "whole", masks=methods)
    build("deeplesion", raw, tmp_path / "two", masks=methods, workers=2)
    for case in sorted({row["case_id"] for row in whole.rows}, reverse=True):
        build("deeplesion", raw, tmp_path / "single", masks=methods, only=[case])
    assert tree(tmp_path / "whole") == tree(tmp_path / "two") == tree(tmp_path / "single")


def test_the_table_alone_is_enough_for_shapes(raw: Path, tmp_path: Path) -> None:
    images = build("deeplesion", raw, tmp_path / "images", masks=["ellipse"])
    table = tmp_path / "table"
    table.mkdir()
    (table / "DL_info.csv").write_bytes((raw / "DL_info.csv").read_bytes())
    alone = build("deeplesion", table, tmp_path / "out", masks=["ellipse"], labels_only=True)
    hashes = {row["voi_id"]: row["label_voxels_sha256"] for row in made(alone.rows)}
    for row in made(images.rows):
        # A hole between slices is not known to the table; it moves no mask of the key slice.
        assert hashes[row["voi_id"]] == row["label_voxels_sha256"]


def test_published_profile(raw: Path, tmp_path: Path) -> None:
    report = build("deeplesion", raw, tmp_path, profile="published")
    rows = made(report.rows)
    assert {row["layer"] for row in rows} == {"grabcut"}
    assert not [row["voi_id"] for row in rows if "lesion" in row["voi_id"]]
    reasons = {row["reason"] for row in report.rows}
    assert "not_first_on_slice" in reasons
    assert "possibly_noisy" not in reasons


def test_replay_puts_the_same_vois_back(raw: Path, tmp_path: Path) -> None:
    first = build("deeplesion", raw, tmp_path / "a", masks=["ellipse"], seed=3)
    again = build("deeplesion", raw, tmp_path / "b", masks=["ellipse"], replay=first.manifest)
    a, b = ({row["voi_id"]: row for row in made(report.rows)} for report in (first, again))
    assert a.keys() == b.keys()
    for name, row in a.items():
        assert b[name]["image_voxels_sha256"] == row["image_voxels_sha256"]
        assert b[name]["label_voxels_sha256"] == row["label_voxels_sha256"]
        assert "replay_label_differs" not in b[name]["qc_flags"]


def test_wrong_methods_are_refused_before_any_work(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"--masks cube: expected one of .*jury.*ellipsoid"):
        build("deeplesion", raw, tmp_path / "out", masks=["cube"])
    with pytest.raises(SourceError, match="draws the click from a mask on one slice"):
        build("deeplesion", raw, tmp_path / "out", masks=["ellipsoid"], profile="published")
    with pytest.raises(SourceError, match="published"):
        build("deeplesion", raw, tmp_path / "out", masks=["published"])
    with pytest.raises(SourceError, match="masks of its own"):
        build("kits21", raw, tmp_path / "out", masks=["jury"])
    assert not (tmp_path / "out").exists()
