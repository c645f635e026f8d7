"""Real reports, states, structure sets, markups and annotations: what was drawn in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from makers.own_lines import write_recipe

import uls_data
from uls_data.manifest.row import Row
from uls_data.outcome import Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements.contours import read_structures
from uls_data.sources.measurements.graphics import read_graphics
from uls_data.sources.measurements.groups import read_report
from uls_data.sources.measurements.markups import read_markups
from uls_data.sources.measurements.statement import Kind, Statement

pytestmark = pytest.mark.real
READER = Measurements(name="measurements", case="x", objects=("sr",))
# As the XML states them: x, y of both ends, from the corner of the first pixel, and the length.
AIM = {
    "0023BaselineA": ((54, 292, 64, 344), 36.6118927001953),
    "0023BaselineB": ((34, 313, 78, 338), 34.9895172119141),
    "0023FollowupA": ((64, 336, 94, 402), 49.1345481872559),
    "0023FollowupB": ((48, 332, 114, 385), 57.3676948547363),
}


@pytest.fixture(scope="module")
def samples(real_data: Path) -> Path:
    return real_data / "samples"


def rows_of(samples: Path, to: Path, *patterns: str, objects: tuple[str, ...]) -> list[Row]:
    """Rows of a build of some files of the samples."""
    for pattern in patterns:
        for path in sorted(samples.glob(pattern)):
            target = to / "raw" / path.relative_to(samples)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    recipe = write_recipe(to / "own.yaml", objects=list(objects))
    return uls_data.build(recipe, to / "raw", to / "out", masks=["ellipse"]).rows


def kinds(statement: Statement) -> list[str]:
    return [shape.kind.value for shape in statement.shapes]


def test_aim_and_its_twin_say_the_same(samples: Path, tmp_path: Path) -> None:
    images = "aim3-and-sr/0023/0023*[pe].dcm"
    as_xml = rows_of(samples, tmp_path / "xml", images, "aim3-and-sr/0023/*.xml", objects=("aim",))
    twins = "aim3-and-sr/0023/*[AB].dcm"
    as_sr = rows_of(samples, tmp_path / "sr", images, twins, objects=("sr",))
    both = rows_of(
        samples, tmp_path / "both", images, twins, "aim3-and-sr/0023/*.xml", objects=("sr", "aim")
    )
    for rows in (as_xml, as_sr):
        assert len(rows) == len(AIM)
        for row in rows:
            (x1, y1, x2, y2), stated = AIM[Path(row["label_source"] or "").stem]
            assert row["recist_long_vox"] == pytest.approx(np.hypot(x2 - x1, y2 - y1))
            assert row["stated_long_mm"] == pytest.approx(stated, rel=1e-6)
            assert {"stated_length_differs", "lone_slice"} <= set(row["qc_flags"])
            assert f"({x1 - 0.5:.2f}, {y1 - 0.5:.2f})" in (row["detail"] or "")
    # 32.89 mm by the slice's own spacing of 0.621094 mm, where the file says 36.61.
    first = next(row for row in as_xml if "BaselineA" in (row["label_source"] or ""))
    assert "32.89 mm long, stated 36.61 mm" in (first["detail"] or "")
    reasons = [row["reason"] for row in both]
    assert reasons.count(Reason.DUPLICATE) == reasons.count(Reason.SINGLE_LINE) == len(AIM)


def test_outlines_of_highdicom_s_reports(samples: Path, tmp_path: Path) -> None:
    rows = rows_of(samples, tmp_path, "sr/highdicom/*.dcm", objects=("sr",))
    made = {row["mask_voxels"] for row in rows if row["status"] == "ok"}
    # Circles of radius 11 and 10 (areas 380.1 and 314.2), and a square of 20 x 20.
    assert made == {384, 316, 400}
    others = [row["reason"] for row in rows if row["status"] != "ok"]
    assert others == [Reason.NOT_MEASURED, Reason.ANNOTATION_MISMATCH]


def test_a_report_of_dcmjs(samples: Path) -> None:
    root = samples / "sr/dcmjs"
    found = read_report(Path("structured_report.dcm"), root, READER)
    assert [kinds(one) for one in found] == [
        *(["point"], ["outline"], ["line", "line"], ["line"], ["line"], ["outline"])
    ]
    long, short = found[2].shapes
    assert (long.role, long.points, long.stated_mm) == ("long", ((71, 328.5), (139, 396.5)), 93.9)
    assert (short.role, short.stated_mm) == ("short", 47.0)
    (length,) = found[3].shapes
    assert length.stated_mm == pytest.approx(39.366493)
    assert (
        len({one.follows for one in found}) == len({one.track for one in found}) == 6
        and len({one.drawn_by for one in found}) == 1
    )


def test_reports_of_dwv(samples: Path) -> None:
    root = samples / "sr/dwv/tid1500-0"
    ruler = read_report(Path("sr-ruler.dcm"), root, READER)
    assert [kinds(one) for one in ruler] == [["line"]] * 3
    assert all(one.shapes[0].stated_mm == pytest.approx(4.025316) for one in ruler)
    for name, kind in (("arrow", "point"), ("circle", "outline"), ("ellipse", "outline")):
        found = read_report(Path(f"sr-{name}.dcm"), root, READER)
        assert [kinds(one) for one in found] == [[kind]] * 3
    for name in ("rectangle", "roi"):
        found = read_report(Path(f"sr-{name}.dcm"), root, READER)
        assert [kinds(one) for one in found] == [["outline"]] * 3
    angles = read_report(Path("sr-protractor.dcm"), root, READER)
    assert {one.skipped and one.skipped[0] for one in angles} == {Reason.NOT_MEASURED}


def test_reports_without_a_line(samples: Path) -> None:
    by_segments = read_report(Path("sr.dcm"), samples / "sr/dcmqi", READER)
    assert by_segments
    assert all("dicom_objects" in (one.skipped or ("", ""))[1] for one in by_segments)
    negative = read_report(Path("test-SR.dcm"), samples / "sr/pydicom-negative", READER)
    assert [kinds(one) for one in negative if one.shapes] == [["outline"]]
    assert {one.skipped[0] for one in negative if one.skipped} == {Reason.NOT_MEASURED}


def test_states_of_clearcanvas(samples: Path, tmp_path: Path) -> None:
    root = samples / "pr/clearcanvas"
    for name, points in (("real01", 62), ("real02", 35), ("real03", 64)):
        (one,) = read_graphics(Path(f"{name}.pr.dcm"), root, READER)
        (shape,) = one.shapes
        assert (shape.kind, len(shape.points)) == (Kind.OUTLINE, points)
        assert one.place.slice_name
    rows = rows_of(samples, tmp_path, "pr/clearcanvas/*.dcm", objects=("presentation_states",))
    assert [row["reason"] for row in rows] == [Reason.NOT_CT]
    assert "2375892" not in repr(rows)  # the PatientID


def test_structure_sets(samples: Path) -> None:
    points = read_structures(Path("rtstruct.dcm"), samples / "rtstruct/pydicom-points", READER)
    assert [kinds(one) for one in points] == [
        [],
        ["point"],
        ["point"],
    ]  # one of them has no contour
    for name, count in (("dicompyler/rtss.dcm", 10), ("orthanc-lctsc/RT.dcm", 5)):
        found = read_structures(Path(name), samples / "rtstruct", READER)
        assert len(found) == count
        assert {one.skipped and one.skipped[0] for one in found} == {Reason.NOT_MEASURED}


def test_a_ruler_of_slicer(samples: Path, tmp_path: Path) -> None:
    (one,) = read_markups(Path("M.acsv"), samples / "slicer/acsv", READER)
    (shape,) = one.shapes
    assert shape.kind == Kind.LINE
    assert shape.points == ((173.431, 158.55, 0.0), (172.89, 27.0563, 0.0))
    (row,) = rows_of(samples, tmp_path, "slicer/acsv/*", objects=("markups",))
    assert row["reason"] == Reason.IMAGE_MISSING
