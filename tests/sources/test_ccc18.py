"""Crowds Cure Cancer: its table, the series that it names, and the windows of slices."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from demo.crowds import make_ccc18
from demo.dicom import PRIVATE, uid_of
from uls_data.dicom.series import read_series
from uls_data.errors import SourceError
from uls_data.outcome import Reason
from uls_data.recipe import load_recipe
from uls_data.recipe.measurements import LineColumns, Measurements, from_ccc18
from uls_data.sources.format import Search
from uls_data.sources.measurements.display import window_hu, windows_of
from uls_data.sources.measurements.find import case_of, find_measured
from uls_data.sources.measurements.statement import Statement
from uls_data.sources.measurements.table import read_table
from uls_data.volumes.raw_root import RawRoot

TABLE = "CrowdsCureCancer2018-Results.csv"
AXES = [f"{a}Axis.point{end}.{way}" for a in ("Long", "Short") for end in "12" for way in "xy"]
HEADER = [
    *("SeriesInstanceUID", "SOPInstanceUID", "annotator", "radiologist_status", "skip"),
    *AXES,
    *("LongAxis.length", "ShortAxis.length"),
]
GOOD = ["1.2.3", "1.2.3.4", "somebody", "radiologist", "false"]
GOOD += ["10.5", "20.5", "30.5", "20.5", "20.5", "15", "20.5", "25", "20.0", "10.0"]


def reader(**changes: Any) -> Measurements:
    found = load_recipe("ccc18").recipe.reader
    assert isinstance(found, Measurements) and found.table is not None
    columns = {**found.table.columns.model_dump(exclude_unset=True), **changes.pop("columns", {})}
    table = found.table.model_copy(update={"columns": LineColumns(**columns)})
    return found.model_copy(update={**changes, "table": table})


def lines_of(row: Statement, back: float = 0.0) -> list[tuple[float, ...]]:
    """End points of a row, x1, y1, x2, y2 of each line, moved back."""
    return [
        tuple(number + back for point in shape.points for number in point) for shape in row.shapes
    ]


def table(root: Path, *rows: list[str], header: list[str] = HEADER) -> Path:
    lines = [",".join(cells) for cells in (header, *rows)]
    (root / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / TABLE


def with_(**cells: str) -> list[str]:
    """A good row with other cells, by column; a double underscore stands for a dot."""
    row = dict(zip(HEADER, GOOD, strict=True))
    row.update({name.replace("__", "."): value for name, value in cells.items()})
    return list(row.values())


def read_one(root: Path, row: list[str], **changes: Any) -> Statement:
    return read_table(table(root, row), root, reader(**changes))[0]


def test_a_row(tmp_path: Path) -> None:
    row = read_one(tmp_path, GOOD)
    assert (row.number, row.place.series, row.place.slice_name) == (1, "1.2.3", "1.2.3.4")
    assert lines_of(row, 0.5) == [(10.5, 20.5, 30.5, 20.5), (20.5, 15.0, 20.5, 25.0)]
    assert [shape.role for shape in row.shapes] == ["long", "short"]
    assert row.stated_mm == (20.0, 10.0) and row.skipped is None
    assert row.drawn_by and "somebody" not in f"{row!r}{row.drawn_by}"
    assert row.drawn_by not in repr(row)


@pytest.mark.parametrize("column", HEADER)
def test_a_column_that_is_not_there(tmp_path: Path, column: str) -> None:
    header = [name for name in HEADER if name != column]
    path = table(tmp_path, [PRIVATE] * len(header), header=header)
    with pytest.raises(SourceError) as caught:
        read_table(path, tmp_path, reader())
    message = str(caught.value)
    assert repr(column) in message and "reader.table.columns." in message and TABLE in message
    assert all(name in message for name in header) and PRIVATE not in message


def test_the_field_to_change_is_the_right_one(tmp_path: Path) -> None:
    path = table(tmp_path, header=[name for name in HEADER if name != "ShortAxis.point1.y"])
    with pytest.raises(SourceError, match=re.escape("reader.table.columns.short[1]")):
        read_table(path, tmp_path, reader())
    path = table(tmp_path, header=[name for name in HEADER if name != "skip"])
    assert read_table(path, tmp_path, reader(columns={"skip": None})) == []


def test_a_first_line_that_is_no_header_is_not_shown(tmp_path: Path) -> None:
    path = table(tmp_path, header=[PRIVATE, "Jane Roe"])
    with pytest.raises(SourceError) as caught:
        read_table(path, tmp_path, reader())
    assert "Jane" not in str(caught.value) and PRIVATE not in str(caught.value)


def test_other_names_of_columns(tmp_path: Path) -> None:
    header = ["seriesUID", "sliceIndex", *HEADER[2:], "more"]
    path = table(tmp_path, ["1.2.3", "17", *GOOD[2:], "x"], header=header)
    columns = {"series": "SERIESUID", "slice": None, "slice_index": "sliceIndex"}
    row = read_table(path, tmp_path, reader(columns=columns))[0]
    assert row.place.slice_index == 17 and row.skipped is None
    ways = dict.fromkeys(("slice", "slice_index", "image_number", "slice_mm"))
    with pytest.raises(ValidationError, match="slice"):
        LineColumns(**ways)


ROLES = {
    "radiologist": True,
    "Radiologist": True,
    "Board-certified radiologist (attending)": True,
    "radiologist, retired": True,
    "non-radiologist": False,
    "Non Radiologist": False,
    "not a radiologist": False,
    "not_radiologist": False,
    "radiologic technologist": False,
    "radiology resident": False,
    "student": False,
    "": False,
    "radiologist " * 40: False,
}


@pytest.mark.parametrize(("role", "counts"), ROLES.items())
def test_only_radiologists_count(tmp_path: Path, role: str, counts: bool) -> None:
    cell = f'"{role}"'
    row = read_one(tmp_path, with_(radiologist_status=cell))
    assert (row.skipped is None) == counts
    if row.skipped is not None:
        assert row.skipped[0] == Reason.NOT_A_RADIOLOGIST
        assert len(role) < 9 or role not in row.skipped[1]
    everybody = read_one(tmp_path, with_(radiologist_status=cell), columns={"role": None})
    assert everybody.skipped is None


NOT_MEASURED, UNREADABLE = Reason.NOT_MEASURED, Reason.ANNOTATION_UNREADABLE
WRONG = {
    "skipped": ({"skip": "TRUE"}, NOT_MEASURED),
    "skipped_1": ({"skip": "1"}, NOT_MEASURED),
    "no_point": ({"LongAxis__point1__x": ""}, NOT_MEASURED),
    "nan": ({"ShortAxis__point2__y": "NaN"}, NOT_MEASURED),
    "nothing": ({name.replace(".", "__"): "" for name in AXES}, NOT_MEASURED),
    "skip_word": ({"skip": "perhaps"}, UNREADABLE),
    "word": ({"LongAxis__point1__x": PRIVATE}, UNREADABLE),
    "inf": ({"LongAxis__point1__x": "inf"}, UNREADABLE),
    "far": ({"LongAxis__point1__x": "1e9"}, UNREADABLE),
    "length": ({"LongAxis__length": "-3"}, UNREADABLE),
    "slice": ({"SOPInstanceUID": PRIVATE}, UNREADABLE),
    "no_slice": ({"SOPInstanceUID": ""}, UNREADABLE),
}


@pytest.mark.parametrize(("cells", "reason"), WRONG.values(), ids=WRONG)
def test_a_row_that_cannot_be_used_stops_nothing(
    tmp_path: Path, cells: dict[str, str], reason: Reason
) -> None:
    rows = read_table(table(tmp_path, with_(**cells), GOOD), tmp_path, reader())
    assert rows[0].skipped is not None and rows[0].skipped[0] == reason
    assert PRIVATE not in rows[0].skipped[1] and "somebody" not in rows[0].skipped[1]
    assert rows[1].skipped is None


@pytest.mark.parametrize("skip", ["", "False", "0", "no", "nan"])
def test_rows_that_are_not_skipped(tmp_path: Path, skip: str) -> None:
    assert read_one(tmp_path, with_(skip=skip)).skipped is None


def test_lengths_may_be_absent(tmp_path: Path) -> None:
    assert read_one(tmp_path, with_(LongAxis__length="")).stated_mm == (None, 10.0)
    columns = {"long_length_mm": None, "short_length_mm": None}
    assert read_one(tmp_path, GOOD, columns=columns).stated_mm == (None, None)


def test_a_recipe_written_for_the_reader_ccc18_is_still_read() -> None:
    """The words of before, with a column of its own and a null one."""
    shipped = load_recipe("ccc18").recipe.reader
    assert isinstance(shipped, Measurements) and shipped.table is not None
    old = {
        "name": "ccc18",
        "case": shipped.case,
        "patient": None,
        "table": shipped.table.file,
        "columns": {"slice": None, "slice_index": "sliceIndex", "annotator": "who", "role": None},
        "radiologist": "yes",
        "coordinates": {"shift_vox": -0.5, "outward_vox": 0, "evidence": "the viewer's own"},
        "slices_apart": 2,
    }
    read = Measurements.model_validate(from_ccc18(old))
    assert read.table is not None
    kept = ("case", "named_by", "stated_lengths", "nearest_vox", "policy", "objects", "images")
    assert [getattr(read, name) for name in kept] == [getattr(shipped, name) for name in kept]
    assert (read.slices_apart, read.table.radiologist) == (2, "yes")
    wanted = dict(read.table.demanded())
    assert wanted["reader.table.columns.slice_index"] == "sliceIndex"
    assert wanted["reader.table.columns.series"] == "SeriesInstanceUID"
    assert "reader.table.columns.role" not in wanted
    with pytest.raises(ValidationError, match="annotater"):
        Measurements.model_validate(from_ccc18({**old, "columns": {"annotater": "who"}}))


# --- Windows ------------------------------------------------------------------


def test_a_window_is_centre_and_width() -> None:
    assert window_hu("40", "400") == (-160.0, 240.0)
    assert window_hu("-600.0", "1500") == (-1350.0, 150.0)
    for centre, width in (("", "400"), ("40", ""), ("40", "0"), ("40", "-4"), ("nan", "1")):
        assert window_hu(centre, width) is None
    for centre, width in (
        ("40", "inf"),
        ("1e9", "4"),
        ("1_0", "4"),
        (PRIVATE, "4"),
        ("4" * 9, "4"),
    ):
        assert window_hu(centre, width) is None


@given(st.integers(-2000, 3000), st.integers(1, 6000))
def test_a_window_has_its_centre_and_width(centre: int, width: int) -> None:
    found = window_hu(f"{centre}", f"{width}")
    assert found is not None
    assert (sum(found), found[1] - found[0]) == (2 * centre, width)


# --- Cases --------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ccc18")
    make_ccc18(root, 0)
    return root


def find(root: Path, **changes: Any) -> dict[str | None, Any]:
    recipe = load_recipe("ccc18").recipe
    cases = find_measured(Search(recipe, RawRoot(root)), reader(**changes))
    assert len({case.case_id for case in cases}) == len(cases)
    pattern = re.compile(recipe.reader.case)
    assert all(pattern.fullmatch(case.case_id) for case in cases if case.series_instance_uid)
    return {case.series_instance_uid: case for case in cases}


def test_cases_of_the_made_up_archive(made: Path) -> None:
    cases = find(made)
    liver = cases[uid_of("ccc18 TCGA-LIHC")]
    assert liver.case_id == case_of("ccc18", uid_of("ccc18 TCGA-LIHC")) and len(liver.case_id) == 18
    assert liver.problem is None and len(liver.slices) == 24 and len(liver.measurements) == 11
    assert liver.files() == sorted([*liver.slices, Path(TABLE)])
    problems = {uid: case.problem[0] for uid, case in cases.items() if case.problem}
    assert problems == {
        uid_of("ccc18 not downloaded"): Reason.IMAGE_MISSING,
        uid_of("ccc18 students only"): Reason.NOT_A_RADIOLOGIST,
        None: Reason.ANNOTATION_UNREADABLE,
    }
    assert PRIVATE not in repr(cases) and "-0001" not in repr([*cases])
    recipe = load_recipe("ccc18").recipe
    assert recipe.patient_of(liver.case_id) is None and recipe.split_of(None) is None


def test_windows_of_slices(made: Path) -> None:
    case = find(made)[uid_of("ccc18 CPTAC-PDA")]
    windows = windows_of(read_series(case.slices, made).headers)
    assert len(windows) == 24 and set(windows.values()) == {(-125.0, 225.0)}  # the first pair


def copied(made: Path, root: Path, change: Callable[[str], str]) -> Path:
    text = (made / TABLE).read_text(encoding="utf-8")
    for path in made.rglob("*.dcm"):
        target = root / path.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(path)
    (root / TABLE).write_text(change(text), encoding="utf-8")
    return root


def test_readers_are_numbers_that_rows_do_not_change(made: Path, tmp_path: Path) -> None:
    def turned(text: str) -> str:
        head, *rows = text.splitlines()
        return "\n".join([head, *rows[::-1]])

    def key(cases: dict[str | None, Any]) -> set[Any]:
        return {
            (uid, one.reader, one.place, one.shapes)
            for uid, case in cases.items()
            for one in case.measurements
        }

    assert key(find(made)) == key(find(copied(made, tmp_path, turned)))


def test_lines_count_from_the_first_pixel_s_centre(made: Path) -> None:
    first = find(made)[uid_of("ccc18 CPTAC-PDA")].measurements[0]
    at = int(first.source_lesion_id.removeprefix("row-"))
    header, *rows = (line.split(",") for line in (made / TABLE).read_text().splitlines())
    stated = dict(zip(header, rows[at - 1], strict=True))
    assert [number for line in lines_of(first) for number in line] == [
        float(stated[name]) - 0.5 for name in AXES
    ]


def test_a_table_alone_or_none(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected one table"):
        find(tmp_path)
    (tmp_path / TABLE).write_bytes((made / TABLE).read_bytes())
    with pytest.raises(SourceError, match="none of the 4 series"):
        find(tmp_path)


def test_copies_of_the_table(made: Path, tmp_path: Path) -> None:
    root = copied(made, tmp_path, str)
    (root / "again").mkdir()
    copy = root / "again" / TABLE.upper()
    copy.write_bytes((root / TABLE).read_bytes())
    assert len(find(root)) == 5
    copy.write_bytes((root / TABLE).read_bytes() + b"\n")
    with pytest.raises(SourceError, match="found 2 that differ"):
        find(root)


def test_a_table_outside_the_root(made: Path, tmp_path: Path) -> None:
    (tmp_path / TABLE).symlink_to(made / TABLE)
    with pytest.raises(SourceError, match="leads out of the raw root"):
        find(tmp_path)


def test_a_series_that_is_no_ct(made: Path, tmp_path: Path) -> None:
    root = copied(made, tmp_path, str)
    for path in (root / "CPTAC-PDA").rglob("*.dcm"):
        data = pydicom.dcmread(path)
        data.Modality = "MR"
        path.unlink()
        data.save_as(path)
    problem = find(root)[uid_of("ccc18 CPTAC-PDA")].problem
    assert problem is not None and problem[0] == Reason.NOT_CT
