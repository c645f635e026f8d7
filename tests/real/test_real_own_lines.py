"""One lesion's lines, said in several ways: the same VOI and the same mask, byte for byte."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.own_lines import CENTRES, Measured, ibsi_lines, write_recipe
from makers.own_objects import write_gsps, write_sr, write_structures

import uls_data
from uls_data import geometry
from uls_data.dicom.header import read_header
from uls_data.dicom.rtstruct import rasterise, read_rtstruct
from uls_data.manifest.row import Row
from uls_data.measure.overlap import dice

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def lines(real_data: Path) -> Measured:
    return ibsi_lines(real_data)


def built(root: Path, out: Path, **reader: Any) -> tuple[list[Row], dict[str, bytes]]:
    """Rows of a build, and the bytes of its VOIs."""
    recipe = write_recipe(out.with_suffix(".yaml"), **reader)
    rows = uls_data.build(recipe, root, out).rows
    return rows, {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*.nii.gz"))
    }


@pytest.fixture(scope="module")
def expected(lines: Measured, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """VOI and mask of the lines as a table in pixels gives them."""
    root = tmp_path_factory.mktemp("pixels")
    lines.copy(root / "raw" / "phantom")
    lines.write_csv(root / "raw" / "lines.csv", sop_instance_uid=lines.sop_instance_uid)
    rows, found = built(root / "raw", root / "out", table={"file": "*.csv"}, coordinates=CENTRES)
    (row,) = rows
    assert (row["status"], row["case_id"], row["annotator"]) == ("ok", "phantom", None)
    long_mm = float(np.linalg.norm(lines.lps_mm[1] - lines.lps_mm[0]))
    assert row["recist_long_vox"] == pytest.approx(long_mm / 0.9765625, rel=1e-3)
    assert row["click_source"] == "drawn" and row["stated_long_mm"] is None
    assert sorted(found) == [
        "own/images/phantom_lesion_01_sample_0.nii.gz",
        "own/labels/jury/phantom_lesion_01_sample_0.nii.gz",
    ]
    return found


def test_the_mask_is_near_the_contour(
    lines: Measured, expected: dict[str, bytes], real_data: Path
) -> None:
    """On its slice, against the physician's contour that the lines run across."""
    volume, z = lines.series.volume, lines.slice_vox
    path = real_data / "ibsi-ct-phantom/dicom/mask/DCM_RS_00060.dcm"
    (roi,) = read_rtstruct(path, re.compile("GTV-1")).rois
    grid = (volume.stored.shape, volume.stored_affine, lines.series.sop_instance_uids)
    truth = np.zeros(volume.stored.shape, bool)
    truth[tuple(rasterise(roi.contours, *grid).region.voxels.T)] = True
    (label,) = (data for name, data in expected.items() if "/labels/" in name)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(label))
    voxels = np.argwhere(np.asarray(image.dataobj))
    stored = np.rint(geometry.to_vox(volume.stored_affine, geometry.to_mm(image.affine, voxels)))
    made = np.zeros(volume.stored.shape, bool)
    made[tuple(stored.astype(int).T)] = True
    assert made.sum() == made[:, :, z].sum() == len(voxels)
    assert dice(made[:, :, z], truth[:, :, z]) == pytest.approx(0.955, abs=0.001)


def test_a_table_in_mm(lines: Measured, expected: dict[str, bytes], tmp_path: Path) -> None:
    lines.copy(tmp_path / "raw" / "phantom")
    lines.write_csv(tmp_path / "raw" / "lines.csv", case="phantom")
    table = {"file": "*.csv", "unit": "lps_mm"}
    _, found = built(tmp_path / "raw", tmp_path / "out", table=table)
    assert found == expected


SLICES = ("image_number", "slice_index", "slice_mm")


@pytest.mark.parametrize("way", SLICES)
def test_a_slice_by_number_or_position(
    lines: Measured, expected: dict[str, bytes], tmp_path: Path, way: str
) -> None:
    folder = lines.copy(tmp_path / "raw" / "phantom")
    number, series_number = _numbers(folder, lines.sop_instance_uid)
    value = {
        "image_number": number,
        "slice_index": lines.slice_vox,  # the series is stored from the feet
        "slice_mm": lines.lps_mm[0, 2],
    }[way]
    text = lines.write_csv(tmp_path / "one.csv", sop_instance_uid="").read_text()
    header, row = text.splitlines()
    more = "" if series_number is None else f",{series_number}"
    (tmp_path / "raw" / "lines.csv").write_text(
        f"{header},case,{way}{',series_number' * bool(more)}\n{row},phantom,{value}{more}\n"
    )
    _, found = built(
        tmp_path / "raw", tmp_path / "out", table={"file": "*.csv"}, coordinates=CENTRES
    )
    assert found == expected


def _numbers(folder: Path, uid: str) -> tuple[int, int | None]:
    tags = {"uid": 0x00080018, "number": 0x00200013, "series": 0x00200011}
    for path in folder.iterdir():
        values = read_header(path, path.name, frozenset(tags.values()))[0].values
        texts = {name: values.get(tag, b"").decode().strip(" \0") for name, tag in tags.items()}
        if texts["uid"] == uid:
            return int(texts["number"]), int(texts["series"]) if texts["series"] else None
    raise AssertionError(uid)


def test_markups_of_slicer(lines: Measured, expected: dict[str, bytes], tmp_path: Path) -> None:
    lines.write_markups(lines.copy(tmp_path / "raw" / "phantom"))
    rows, found = built(tmp_path / "raw", tmp_path / "out", objects=["markups"])
    assert found == expected
    assert rows[0]["source_lesion_id"] == "L.mrk.json/markup-1+S.mrk.json/markup-1"


# --- DICOM's own objects -----------------------------------------------------


def objects(lines: Measured, root: Path, of: str, write: Any, **how: Any) -> Any:
    """Rows and VOIs of a series with one object."""
    if of != "structure_sets":
        pytest.importorskip("highdicom")
    lines.copy(root / "raw" / "phantom")
    write(lines, root / "raw" / "object.dcm", **how)
    return built(root / "raw", root / "out", objects=[of])


@pytest.mark.parametrize("in_3d", [False, True])
def test_a_structured_report(
    lines: Measured, expected: dict[str, bytes], tmp_path: Path, in_3d: bool
) -> None:
    rows, found = objects(lines, tmp_path, "sr", write_sr, in_3d=in_3d)
    assert found == expected
    (row,) = rows
    long_mm = np.linalg.norm(lines.lps_mm[1] - lines.lps_mm[0])
    assert row["stated_long_mm"] == pytest.approx(long_mm)
    assert row["source_lesion_id"] == "group-1" and "Private" not in repr(rows)
    assert "stated_length_differs" not in row["qc_flags"]


def test_a_stated_length_that_is_wrong(
    lines: Measured, expected: dict[str, bytes], tmp_path: Path
) -> None:
    (row,), found = objects(lines, tmp_path, "sr", write_sr, lengths_mm=(50.0, 40.0))
    assert found == expected
    assert "stated_length_differs" in row["qc_flags"] and row["stated_long_mm"] == 50.0


@pytest.mark.parametrize("displayed", [False, True])
def test_a_presentation_state(
    lines: Measured, expected: dict[str, bytes], tmp_path: Path, displayed: bool
) -> None:
    rows, found = objects(lines, tmp_path, "presentation_states", write_gsps, displayed=displayed)
    assert found == expected
    assert rows[0]["source_lesion_id"] == "graphic-1+graphic-2"
    assert "Private" not in repr(rows)


@pytest.mark.parametrize("how", [{}, {"kind": "CLOSED_PLANAR"}, {"named": False}])
def test_a_structure_set_of_two_points(
    lines: Measured, expected: dict[str, bytes], tmp_path: Path, how: dict[str, Any]
) -> None:
    rows, found = objects(lines, tmp_path, "structure_sets", write_structures, **how)
    assert found == expected
    assert rows[0]["source_lesion_id"] == "roi-1" and "target" not in repr(rows)


def test_a_point_of_a_structure_set_is_the_click(lines: Measured, tmp_path: Path) -> None:
    point = lines.lps_mm.mean(axis=0)
    rows, _ = objects(lines, tmp_path, "structure_sets", write_structures, point=point)
    (row,) = rows
    assert (row["status"], row["click_source"]) == ("ok", "human")
    affine = np.array(row["affine"]).reshape(4, 4)
    centre = affine @ (128, 128, 64, 1)
    off = np.abs(centre[:3] - point * (-1, -1, 1)) / np.diag(affine)[:3]
    assert np.abs(off).max() <= 0.51
