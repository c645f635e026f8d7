"""Lines of your own, made up: tables of every kind, volumes, pairs and markups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from makers.own_lines import CENTRES, MM, PIXELS, write_recipe
from numpy.typing import NDArray

import uls_data
from demo.dicom import write_series
from uls_data.errors import CaseError, SourceError
from uls_data.manifest.row import Row
from uls_data.outcome import Flag, Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements import units
from uls_data.sources.measurements.across import axes_at
from uls_data.sources.measurements.markups import read_markups
from uls_data.sources.measurements.pairing import pairs_of
from uls_data.sources.measurements.placing import Drawn
from uls_data.sources.measurements.statement import Kind, Shape, Statement

READER = Measurements(name="measurements", case="x", objects=("aim",))
SHAPE = (40, 36, 12)
AFFINE = np.array([[0.8, 0, 0, -10.0], [0, 0.8, 0, 20.0], [0, 0, 2.5, -30.0], [0, 0, 0, 1.0]])
# Across a ball at (20, 16, 6) of radius 8 voxels in plane: x1, y1, x2, y2 of both axes.
ENDS = [12.0, 16.0, 28.0, 16.0, 20.0, 9.0, 20.0, 23.0]


def ball() -> NDArray[np.int16]:
    x, y, z = np.indices(SHAPE)
    inside = ((x - 20) ** 2 + (y - 16) ** 2 + ((z - 6) * 3) ** 2) <= 64
    return np.where(inside, 60, -80).astype(np.int16)


def in_mm(ends: list[float], z: float, affine: NDArray[np.float64] = AFFINE) -> list[float]:
    """RAS mm of end points in RAS voxels."""
    points = np.reshape(ends, (4, 2))
    whole = np.column_stack([points, np.full(4, z)]) @ affine[:3, :3].T + affine[:3, 3]
    return [float(number) for number in whole.ravel()]


def build(root: Path, **reader: Any) -> list[Row]:
    recipe = write_recipe(root / "own.yaml", **reader)
    return uls_data.build(recipe, root / "raw", root / "out", masks=["quadrilateral"]).rows


def volume(root: Path, turned: bool = False) -> None:
    """Write a scan as NIfTI; turned: its third stored axis does not run along the body."""
    stored, affine = ball(), AFFINE
    if turned:
        stored, affine = stored.transpose(2, 0, 1), AFFINE[:, [2, 0, 1, 3]]
    (root / "raw").mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(stored, affine), root / "raw" / "one.nii.gz")


def table(root: Path, *rows: dict[str, Any], name: str = "lines.csv") -> None:
    (root / "raw").mkdir(exist_ok=True)
    frame = pd.DataFrame(list(rows))
    path = root / "raw" / name
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.endswith(".xlsx"):
        frame.to_excel(path, index=False)
    else:
        frame.to_csv(path, index=False)


def pixels(ends: list[float] = ENDS, **more: Any) -> dict[str, Any]:
    row = {"case": "one", "slice_index": 6, **dict(zip(PIXELS, ends, strict=True))}
    return {**row, **more}


def label_of(row: Row) -> tuple[str | None, str | None, tuple[Any, ...]]:
    click = tuple(row[f"click_{axis}_vox"] for axis in "xyz")  # type: ignore[literal-required]
    return row["status"], row["label_voxels_sha256"], click


@pytest.mark.parametrize("kind", ["parquet", "xlsx"])
def test_tables_of_every_kind_give_the_same(tmp_path: Path, kind: str) -> None:
    if kind == "xlsx":
        pytest.importorskip("openpyxl")
    found = []
    for name in ("lines.csv", f"lines.{kind}"):
        root = tmp_path / name.partition(".")[2]
        root.mkdir()
        volume(root)
        table(root, pixels(reader="somebody"), name=name)
        (row,) = build(root, images="{case}.nii.gz", table={"file": "lines.*"}, coordinates=CENTRES)
        found.append(label_of(row))
    assert len(set(found)) == 1 and found[0][0] == "ok"


def test_a_volume_in_another_format_than_the_recipe_names(tmp_path: Path) -> None:
    volume(tmp_path)
    table(tmp_path, pixels())
    how: dict[str, Any] = {"table": {"file": "*.csv"}, "coordinates": CENTRES}
    (row,) = build(tmp_path, images="{case}.mha", **how)
    assert row["status"] == "ok" and Flag.OTHER_VOLUME_FORMAT in row["qc_flags"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_volume_with_lines_in_mm(tmp_path: Path, turned: bool) -> None:
    for way in ("pixels", "mm"):
        (tmp_path / way).mkdir()
        volume(tmp_path / way, turned=turned and way == "mm")
    table(tmp_path / "pixels", pixels())
    table(tmp_path / "mm", {"case": "one", **dict(zip(MM, in_mm(ENDS, 6), strict=True))})
    where: dict[str, Any] = {"images": "{case}.nii.gz"}
    (straight,) = build(tmp_path / "pixels", **where, table={"file": "*.csv"}, coordinates=CENTRES)
    (row,) = build(tmp_path / "mm", **where, table={"file": "*.csv", "unit": "ras_mm"})
    assert label_of(row) == label_of(straight)


def test_pixels_need_slices_along_the_body(tmp_path: Path) -> None:
    volume(tmp_path, turned=True)
    table(tmp_path, pixels())
    (row,) = build(tmp_path, images="{case}.nii.gz", table={"file": "*.csv"}, coordinates=CENTRES)
    assert row["reason"] == Reason.UNEXPECTED_AXIS_ORDER


def test_what_a_table_calls_lesions_are_lesions(tmp_path: Path) -> None:
    """Rows of one name are one lesion, also far apart; of two names two, though they meet."""
    moved = [number + 1 for number in ENDS]
    volume(tmp_path)
    table(
        tmp_path,
        pixels(lesion="a", reader="Jane Roe"),
        pixels(moved, lesion="b", reader="Jane Roe"),
        pixels(moved, lesion="a", slice_index=4, reader="John Roe"),
    )
    rows = build(tmp_path, images="{case}.nii.gz", table={"file": "*.csv"}, coordinates=CENTRES)
    layers = [(row["lesion_index"], row["layer"], row["source_lesion_id"]) for row in rows]
    assert layers == [
        *[(1, name, "row-1+row-3") for name in ("quadrilateral", "reader-1", "reader-2")],
        (2, "quadrilateral", "row-2"),
    ]
    assert "Roe" not in repr(rows)


def test_rows_that_cannot_be_used_are_rows(tmp_path: Path) -> None:
    empty = dict.fromkeys(PIXELS[4:])
    volume(tmp_path)
    table(
        tmp_path,
        pixels(),
        pixels(slice_index=99),
        pixels(**empty),
        pixels(**dict.fromkeys(PIXELS), long_axis_mm=12.0),
        pixels(lesion_type="elbow"),
        pixels(case="two"),
        pixels(case=None),
        pixels(slice_index=None),
        pixels(),
    )
    rows = build(tmp_path, images="{case}.nii.gz", table={"file": "*.csv"}, coordinates=CENTRES)
    reasons = sorted((row["case_id"], row["reason"] or "") for row in rows)
    unreadable = ("one", Reason.ANNOTATION_UNREADABLE.value)
    assert reasons == [
        ("one", ""),
        unreadable,
        unreadable,
        ("one", "duplicate"),
        ("one", "key_slice_missing"),
        ("one", "not_measured"),
        ("one", "single_line"),
        ("own_unplaced", "image_missing"),
        ("two", "image_missing"),
    ]
    alone = next(row for row in rows if row["reason"] == "single_line")
    assert alone["recist_long_vox"] == 16 and "12.80 mm long" in (alone["detail"] or "")


def test_a_series_of_one_slice(tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "one"
    uids = write_series(folder, ball(), AFFINE, "own lone", "patient")
    files = {path: path.read_bytes() for path in folder.rglob("*.dcm")}
    kept = next(path for path, data in files.items() if uids[6].encode() in data)
    for path in files.keys() - {kept}:
        path.unlink()
    table(tmp_path, {**pixels(), "slice_index": None, "sop_instance_uid": uids[6]})
    own = {"table": {"file": "*.csv"}, "coordinates": CENTRES}
    (row,) = build(tmp_path, **own)
    assert row["status"] == "ok" and "lone_slice" in row["qc_flags"]
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "raw").symlink_to(tmp_path / "raw")
    (refused,) = build(tmp_path / "again", **own, policy={"lone_slice": "fail"})
    assert refused["reason"] == Reason.TOO_FEW_SLICES


def test_lengths_about_a_point(tmp_path: Path) -> None:
    """A report's two lengths, and a point near the middle: axes of those lengths about it."""
    volume(tmp_path)
    row = {"case": "one", "slice_index": 6, "long_axis_mm": 12.8, "short_axis_mm": 12.0}
    table(tmp_path, {**row, "point_x": 21.0, "point_y": 15.0}, row)
    found = build(tmp_path, images="{case}.nii.gz", table={"file": "*.csv"}, coordinates=CENTRES)
    made, bare = sorted(found, key=lambda row: row["status"] or "")
    assert bare["reason"] == Reason.NOT_MEASURED
    assert "axis_assumed" in made["qc_flags"] and made["click_source"] == "human"
    assert [made[f"click_{axis}_vox"] for axis in "xyz"] == [21, 15, 6]  # type: ignore[literal-required]
    assert (made["stated_long_mm"], made["stated_short_mm"]) == (12.8, 12.0)
    assert made["recist_long_vox"] == pytest.approx(16, abs=0.05)
    ends = np.reshape(made["recist_points_vox"] or (), (4, 2)) - (128 - 21, 128 - 15)
    assert np.abs(ends.mean(axis=0) - (21, 15)).max() <= 0.02


def test_axes_of_stated_lengths_lie_along_the_lesion() -> None:
    """An ellipse of 40 by 20 mm at 30 degrees, in noise: the direction is found within a step."""
    x, y = np.indices((120, 100)) * np.array([0.8, 0.5])[:, None, None]
    angle = np.radians(30)
    u = (x - 45) * np.cos(angle) + (y - 25) * np.sin(angle)
    v = (y - 25) * np.cos(angle) - (x - 45) * np.sin(angle)
    noise = np.random.default_rng(0).normal(0, 15, x.shape)
    hu = np.where((u / 20) ** 2 + (v / 10) ** 2 <= 1, 60.0, -60.0) + noise
    ends = axes_at(hu, (0.8, 0.5), np.array([45 / 0.8, 25 / 0.5]), 40.0, 20.0)
    assert ends is not None
    along, across = np.diff(ends * (0.8, 0.5), axis=0)[[0, 2]]
    assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx(30, abs=5.1)
    assert (np.hypot(*along), np.hypot(*across)) == pytest.approx((40, 20))
    assert along @ across == pytest.approx(0, abs=1e-6)
    assert axes_at(hu[:1, :1], (0.8, 0.5), np.zeros(2), 40.0, 20.0) is None


def test_a_line_alone_completed(tmp_path: Path) -> None:
    empty = dict.fromkeys(PIXELS[4:])
    volume(tmp_path)
    table(tmp_path, pixels(**empty))
    own: dict[str, Any] = {"images": "{case}.nii.gz", "coordinates": CENTRES}
    (made,) = build(tmp_path, **own, table={"file": "*.csv"}, lone_lines="complete")
    assert made["status"] == "ok" and "axis_assumed" in made["qc_flags"]
    assert made["recist_long_vox"] == 16 and made["click_source"] == "drawn"
    assert made["recist_short_vox"] == pytest.approx(0.74 * 16, abs=0.02)


@pytest.mark.parametrize("name", ["lines.parquet", "lines.xlsx", "lines.csv"])
def test_a_table_that_is_none(tmp_path: Path, name: str) -> None:
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    volume(tmp_path)
    (tmp_path / "raw" / name).write_bytes(b"Jane Roe, \xff\x00 no table")
    with pytest.raises(SourceError) as caught:
        build(tmp_path, images="{case}.nii.gz", table={"file": "lines.*"}, coordinates=CENTRES)
    assert "Jane" not in str(caught.value)


# --- Pairs --------------------------------------------------------------------


def drawn(*ends: float, name: int, source: str = "a", **statement: Any) -> Drawn:
    shape = Shape(Kind.LINE, (ends[:2], ends[2:]))
    said = Statement(
        number=name, source_lesion_id=f"{name}", source=Path(source), shapes=(shape,), **statement
    )
    return Drawn(said, shape, 0, np.array(shape.points))


def paired(*lines: Drawn) -> list[str]:
    pairs, alone = pairs_of(lines)
    return [pair.name for pair in pairs] + [f"({line.name})" for line in alone]


def test_lines_that_cross_are_pairs() -> None:
    long, short = drawn(0, 10, 20, 10, name=1), drawn(10, 4, 10, 16, name=2)
    far, sharp = drawn(40, 4, 40, 16, name=3), drawn(0, 6, 20, 14, name=4)
    assert paired(long, short, far) == ["1+2", "(3)"]
    assert paired(long, far) == ["(1)", "(3)"]
    assert paired(long, sharp) == ["(1)", "(4)"]
    near = drawn(10, 11, 10, 23, name=5)  # would cross, were it a twelfth longer
    assert paired(long, near) == ["1+5"]


def test_lines_of_several_readers_are_no_pair() -> None:
    long = drawn(0, 10, 20, 10, name=1, drawn_by="x")
    assert paired(long, drawn(10, 4, 10, 16, name=2, drawn_by="y")) == ["(1)", "(2)"]
    # Two files, each of which says which lesion it follows: two readings of one lesion.
    one = drawn(0, 10, 20, 10, name=1, track="t1")
    other = drawn(10, 4, 10, 16, name=2, source="b", track="t2")
    assert paired(one, other) == ["(1)", "(2)"]


# --- Files --------------------------------------------------------------------

BAD_MARKUPS = (
    *("", "[]", "{}", '{"markups": 5}', '{"markups": [5]}', "[" * 100_000, '{"markups": [{}]}'),
    '{"markups": [{"type": "Line", "controlPoints": 7, "coordinateSystem": "LPS"}]}',
    '{"markups": [{"type": "Line", "controlPoints": [], "coordinateSystem": "LPS"}]}',
    '{"markups": [{"type": "Line", "controlPoints": [{"position": [1, NaN, 2]}], '
    '"coordinateSystem": "LPS"}]}',
    '{"markups": [{"type": ["Line"], "controlPoints": [{"position": "Jane"}]}]}',
)


@pytest.mark.parametrize("text", BAD_MARKUPS)
def test_markups_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.mrk.json").write_text(text)
    try:
        found = read_markups(Path("a.mrk.json"), tmp_path, READER)
    except CaseError as error:
        assert error.reason == Reason.ANNOTATION_UNREADABLE and "Jane" not in str(error)
    else:
        assert found and all(one.skipped is not None and not one.shapes for one in found)


def test_points_that_nobody_set_do_not_count(tmp_path: Path) -> None:
    points = [{"position": [float(at), 0, 0]} for at in range(3)]
    points[1]["positionStatus"] = "undefined"
    said = {"markups": [{"type": "Line", "coordinateSystem": "LPS", "controlPoints": points}]}
    (tmp_path / "a.mrk.json").write_text(json.dumps(said))
    (one,) = read_markups(Path("a.mrk.json"), tmp_path, READER)
    assert one.shapes[0].points == ((0, 0, 0), (-2, 0, 0))


def test_files_that_lead_out_of_the_root_are_rows(tmp_path: Path) -> None:
    volume(tmp_path)
    table(tmp_path, pixels())
    outside = tmp_path / "outside.mrk.json"
    outside.write_text('{"markups": []}')
    links = {"a": outside, "b": tmp_path / "nowhere", "c": Path("c.mrk.json")}
    for name, target in links.items():
        (tmp_path / "raw" / name).mkdir()
        (tmp_path / "raw" / name / f"{name}.mrk.json").symlink_to(target)
    how: dict[str, Any] = {"table": {"file": "*.csv"}, "coordinates": CENTRES}
    rows = build(tmp_path, images="{case}.nii.gz", objects=["markups"], **how)
    assert {row["case_id"]: row["reason"] for row in rows} == {
        "one": None,
        "a": "path_leaves_root",
        "b": "path_leaves_root",
        "c": "unreadable",
    }


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        *((2.5, "mm", 2.5), (2.5, " Centimetres", 25.0), (0.1, "m", 100.0), (2.5, "linear", 25.0)),
        *((2.5, "mm2", None), (2.5, "", None), (None, "mm", None)),
    ],
)
def test_units_of_stated_lengths(value: float | None, unit: str, expected: float | None) -> None:
    assert units.in_mm(value, unit) == expected
