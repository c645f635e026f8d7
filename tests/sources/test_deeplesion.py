"""Cases of DeepLesion: rows of the table, and the slices that lie around each key slice."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.measured import make_deeplesion, table_bytes, table_row, write_zip
from uls_data.errors import SourceError
from uls_data.measure.lines import Lines
from uls_data.outcome import LesionType, Reason
from uls_data.recipe import load_recipe
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.find import find_cases

RECIPE = load_recipe("deeplesion").recipe
LINES = Lines((30.25, 40.5, 50.25, 40.5), (40.25, 33.5, 40.25, 46.5))
SHAPE = (96, 80, 13)


def row(series: str = "000001_01_01", key: int = 106, first: int = 100, **cells: str) -> Any:
    return table_row(series, key, LINES, SHAPE, first, **cells)


def write_table(root: Path, *rows: dict[str, str]) -> None:
    (root / "DL_info.csv").write_bytes(table_bytes(rows))


def write_slices(root: Path, series: str, *numbers: int, name: str = "{:03d}.png") -> None:
    folder = root / "Images_png" / series
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / name.format(number)).write_bytes(b"")


def find(root: Path, *, need_images: bool = False) -> list[CaseFiles]:
    return find_cases(RECIPE, root, need_images=need_images)


def problem(case: CaseFiles) -> Reason:
    assert case.problem is not None
    return case.problem[0]


# --- The table ---------------------------------------------------------------


def test_a_row_is_a_measurement_in_pixel_centres(tmp_path: Path) -> None:
    write_table(tmp_path, row(Coarse_lesion_type="5", DICOM_windows="-1500, 500"))
    (case,) = find(tmp_path)
    assert case.case_id == "000001_01_01_106"
    assert case.stack is not None
    assert case.stack.shape == SHAPE
    assert (case.stack.first_slice, case.stack.key_slice) == (100, 106)
    assert case.stack.spacing_mm == (0.8, 0.8, 2.5)
    (measurement,) = case.measurements
    # RAS index x is column 95 - x, whatever the table's own convention.
    assert np.allclose(measurement.lines.points, [95, 79] - LINES.points)
    assert (measurement.number, measurement.reader) == (1, 1)
    assert measurement.source_lesion_id == "row-1"
    assert measurement.slice_name == "000001_01_01_106.png"
    assert measurement.window_hu == (-1500, 500)
    assert measurement.lesion_type == LesionType.LUNG
    assert dict(measurement.columns) == {
        "source_split": "train",
        "patient_sex": "F",
        "patient_age_years": 62.0,
    }
    assert not measurement.noisy
    assert pickle.loads(pickle.dumps(case)) == case


def test_rows_of_a_slice_are_numbered_in_the_table_s_order(tmp_path: Path) -> None:
    other = row("000001_01_01", 107)
    write_table(tmp_path, row(), other, row(Possibly_noisy="1"), row(Train_Val_Test="3"))
    first, second = find(tmp_path)
    assert [m.number for m in first.measurements] == [1, 2, 3]
    assert [m.source_lesion_id for m in first.measurements] == ["row-1", "row-3", "row-4"]
    assert [m.noisy for m in first.measurements] == [False, True, False]
    assert dict(first.measurements[2].columns)["source_split"] == "test"
    assert [m.source_lesion_id for m in second.measurements] == ["row-2"]


def test_columns_may_be_more_and_in_any_order_and_case(tmp_path: Path) -> None:
    write_table(tmp_path, row(Patient_age="71.0", Key_slice_index="106.0", Train_Val_Test="2.0"))
    expected = find(tmp_path)
    header, line = (tmp_path / "DL_info.csv").read_text().splitlines()
    import csv

    cells = dict(zip(header.split(","), next(csv.reader([line])), strict=True))
    names = [*reversed(cells), "Nifty_FileName"]
    values = [*reversed(cells.values()), "a.nii.gz"]
    with (tmp_path / "DL_info.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([[name.upper() for name in names], values])
    found = find(tmp_path)
    assert found[0].measurements == expected[0].measurements
    assert dict(found[0].measurements[0].columns)["patient_age_years"] == 71


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"Measurement_coordinates": "1, 2, 3"}, Reason.ANNOTATION_UNREADABLE),
        ({"Measurement_coordinates": "nan, 2, 3, 4, 5, 6, 7, 8"}, Reason.ANNOTATION_UNREADABLE),
        ({"Lesion_diameters_Pixel_": "21.5, 13"}, Reason.ANNOTATION_MISMATCH),
        ({"Spacing_mm_px_": "0.8, 0.8, 5"}, Reason.ANNOTATION_MISMATCH),
        ({"Slice_range": "100, 111"}, Reason.ANNOTATION_MISMATCH),
        ({"Key_slice_index": "107"}, Reason.ANNOTATION_MISMATCH),
        ({"Image_size": "96"}, Reason.ANNOTATION_UNREADABLE),
    ],
)
def test_a_bad_row_is_one_lesion_that_says_why(
    tmp_path: Path, cells: dict[str, str], reason: Reason
) -> None:
    write_table(tmp_path, row(), row(**cells), row())
    (case,) = find(tmp_path)
    assert case.problem is None
    good, bad, last = case.measurements
    assert good.skipped is None
    assert last.skipped is None
    assert bad.skipped is not None
    assert bad.skipped[0] == reason
    assert "line 3" in bad.skipped[1]


@pytest.mark.parametrize(
    "cells",
    [
        {"Slice_range": "107, 112"},
        {"Slice_range": "0, 99999"},
        {"Image_size": "999999, 999999"},
        {"Slice_range": "x, y"},
    ],
)
def test_a_case_of_bad_rows_alone_is_a_problem(tmp_path: Path, cells: dict[str, str]) -> None:
    write_table(tmp_path, row(**cells), row("000002_01_01"))
    bad, good = find(tmp_path)
    assert problem(bad) == Reason.ANNOTATION_UNREADABLE
    assert good.problem is None


def test_rows_without_a_name_and_of_another_width_spoil_no_other(tmp_path: Path) -> None:
    write_table(tmp_path, row(File_name="../../etc/passwd"), row("000002_01_01"))
    with (tmp_path / "DL_info.csv").open("a") as file:
        file.write("000003_01_01_106.png,3,1\n" + "x," * 40 + "\n")
    cases = {case.case_id: case for case in find(tmp_path)}
    assert cases["000002_01_01_106"].problem is None
    for name in ("row-1", "row-4", "000003_01_01_106"):
        assert problem(cases[name]) == Reason.ANNOTATION_UNREADABLE
    assert "passwd" not in repr(cases)


@pytest.mark.parametrize(
    "spacing", ["0.8, 0.8, NaN", "0.8, 0.8, -2.5", "0.8, 0.8, 0", "90, 90, 1", "0.8, 0.8", ""]
)
def test_a_spacing_that_no_scan_has_is_unknown(tmp_path: Path, spacing: str) -> None:
    write_table(tmp_path, row(spacing=spacing))
    (case,) = find(tmp_path)
    assert case.problem is None
    assert case.stack is not None
    assert case.stack.spacing_mm is None


def test_what_only_describes_a_lesion_is_left_out_where_it_is_unusable(tmp_path: Path) -> None:
    empty = {"Patient_gender": "?", "Patient_age": "NaN", "Train_Val_Test": "7"}
    write_table(tmp_path, row(DICOM_windows="275, -175", Coarse_lesion_type="x", **empty))
    (measurement,) = find(tmp_path)[0].measurements
    assert measurement.skipped is None
    assert measurement.window_hu is None
    assert measurement.lesion_type == LesionType.UNKNOWN
    assert {value for _, value in measurement.columns} == {None}


def test_the_longer_line_is_the_long_axis(tmp_path: Path) -> None:
    swapped = Lines(LINES.short, LINES.long)
    write_table(tmp_path, table_row("000001_01_01", 106, swapped, SHAPE, 100))
    (measurement,) = find(tmp_path)[0].measurements
    assert measurement.lines.long_vox == pytest.approx(20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected the columns"),
        (b"File_name,Slice_range\na,b\n", "found Key_slice_index 0 times"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_what_is_no_table_stops_before_any_work(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "DL_info.csv").write_bytes(text)
    with pytest.raises(SourceError, match=message):
        find(tmp_path)


def test_no_table_two_tables_and_a_table_without_rows(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found none"):
        find(tmp_path)
    write_table(tmp_path)
    with pytest.raises(SourceError, match="no row"):
        find(tmp_path)
    (tmp_path / "again").mkdir()
    write_table(tmp_path / "again", row())
    with pytest.raises(SourceError, match="expected one"):
        find(tmp_path)


# --- The slices ----------------------------------------------------------------


def test_cases_are_in_natural_order_and_the_range_is_the_scan(tmp_path: Path) -> None:
    write_table(tmp_path, row(key=1006, first=1000), row(key=106))
    write_slices(tmp_path, "000001_01_01", *range(100, 113), *range(1000, 1013))
    cases = find(tmp_path, need_images=True)
    assert [case.case_id for case in cases] == ["000001_01_01_106", "000001_01_01_1006"]
    for case, first in zip(cases, (100, 1000), strict=True):
        assert case.problem is None
        assert case.stack is not None
        assert case.image == Path("Images_png/000001_01_01")
        assert (case.stack.first_slice, case.stack.shape[2]) == (first, 13)
        assert case.stack.neighbours
        assert case.stack.names[0] == f"{first}.png"


def test_slices_beyond_the_range_do_not_count(tmp_path: Path) -> None:
    write_table(tmp_path, row())
    write_slices(tmp_path, "000001_01_01", *range(90, 120))
    rest, case = find(tmp_path, need_images=True)
    assert rest.case_id == "000001_01_01" and problem(rest) is Reason.NOT_ANNOTATED
    assert rest.problem is not None and "slices 90 to 99, 113 to 119 of" in rest.problem[1]
    assert case.stack is not None
    assert (case.stack.first_slice, case.stack.shape[2]) == (100, 13)
    assert not case.stack.neighbours


def test_a_hole_inside_the_range_ends_the_scan(tmp_path: Path) -> None:
    write_table(tmp_path, row())
    write_slices(tmp_path, "000001_01_01", *(n for n in range(100, 113) if n not in (102, 110)))
    (case,) = find(tmp_path, need_images=True)
    assert case.problem is None
    assert case.stack is not None
    assert (case.stack.first_slice, case.stack.shape[2]) == (103, 7)
    assert case.stack.neighbours


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([], Reason.IMAGE_MISSING),
        ([*range(100, 106), *range(107, 113)], Reason.KEY_SLICE_MISSING),
        (range(100, 110), Reason.MISSING_SLICES),
        (range(104, 113), Reason.MISSING_SLICES),
    ],
)
def test_half_a_download_is_a_problem_of_its_case(
    tmp_path: Path, numbers: list[int], reason: Reason
) -> None:
    write_table(tmp_path, row(), row("000002_01_01"))
    write_slices(tmp_path, "000001_01_01", *numbers)
    write_slices(tmp_path, "000002_01_01", *range(100, 113))
    bad, good = find(tmp_path, need_images=True)
    assert problem(bad) == reason
    assert good.problem is None
    assert all(case.problem is None for case in find(tmp_path))


def test_unpacked_slices_come_before_packed_ones(tmp_path: Path) -> None:
    write_table(tmp_path, row(), row("000002_01_01"))
    for series in ("000001_01_01", "000002_01_01"):
        names = {f"Images_png/{series}/{n:03d}.png": b"" for n in range(100, 113)}
        write_zip(tmp_path / f"Images_png_{series[5]}.zip", names)
    write_slices(tmp_path, "000001_01_01", *range(100, 113))
    first, second = find(tmp_path, need_images=True)
    assert first.image == Path("Images_png/000001_01_01")
    assert second.image == Path("Images_png_2.zip")
    assert second.stack is not None
    assert second.stack.names[0] == "Images_png/000002_01_01/100.png"


def test_names_that_lead_out_and_broken_archives_are_passed_over(tmp_path: Path) -> None:
    write_table(tmp_path, row())
    for above in ("/Images_png", "../Images_png", "a/../b", "__MACOSX/x"):
        dotted = "._" if "MAC" in above else ""
        names = {f"{above}/000001_01_01/{dotted}{n:03d}.png": b"" for n in range(100, 113)}
        write_zip(tmp_path / "x.zip", names)
        assert problem(find(tmp_path, need_images=True)[0]) == Reason.IMAGE_MISSING
    (tmp_path / "Images_png_07.zip").write_bytes(b"half")
    os.mkfifo(tmp_path / "pipe.zip")
    case, *broken = find(tmp_path, need_images=True)
    assert case.problem is not None
    assert "Images_png_07.zip" in case.problem[1]
    assert [one.case_id for one in broken] == ["Images_png_07.zip", "pipe.zip"]
    assert {problem(one) for one in broken} == {Reason.UNREADABLE}


def test_an_archive_that_is_linked_from_outside_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    write_table(root, row())
    write_zip(tmp_path / "x.zip", {f"000001_01_01/{n:03d}.png": b"" for n in range(100, 113)})
    (root / "x.zip").symlink_to(tmp_path / "x.zip")
    case, refused = find(root, need_images=True)
    assert (problem(case), problem(refused)) == (Reason.IMAGE_MISSING, Reason.PATH_LEAVES_ROOT)


def test_slices_that_the_table_lacks_and_names_that_are_none(tmp_path: Path) -> None:
    write_table(tmp_path, row())
    write_slices(tmp_path, "000001_01_01", *range(100, 113))
    write_slices(tmp_path, "000001_01_01", 104, 107, name="{:05d}.png")
    write_slices(tmp_path, "000002_01_01", *range(5), 9)
    found = {case.case_id: case for case in find(tmp_path, need_images=True)}
    assert found.pop("000001_01_01_106").problem is None
    assert {name: problem(case) for name, case in found.items()} == {
        "000001_01_01 (names)": Reason.NAME_NOT_RECOGNISED,
        "000002_01_01": Reason.NOT_ANNOTATED,
    }
    details = [case.problem[1] for case in found.values() if case.problem is not None]
    assert "00104.png" in details[0] and "slices 0 to 4, 9 to 9 of 000002_01_01" in details[1]


@given(numbers=st.sets(st.integers(0, 1200), min_size=1, max_size=60), width=st.integers(1, 5))
def test_names_are_found_again_whatever_their_width(numbers: set[int], width: int) -> None:
    from uls_data.sources.deeplesion.find import _add

    folders: dict[str, Any] = {}
    stems = [f"{number:0{width}d}" for number in numbers]
    _add(folders, None, ("a/", "1_1_1", "/"), stems)
    (folder,) = folders["1_1_1"]
    kept = [n for low, high in folder.runs for n in range(low, high + 1)]
    assert sorted(numbers) == kept
    assert {f"{n:0{folder.digits}d}" for n in kept} == set(stems)


@pytest.mark.parametrize("packed", [False, True])
def test_flat_names_of_slices(tmp_path: Path, packed: bool) -> None:
    """As copies of the data set elsewhere name them: one folder of all slices."""
    write_table(tmp_path, row())
    write_slices(tmp_path, "x", *range(100, 113), name="000001_01_01_{:03d}.png")
    folder = next(tmp_path.rglob("*.png")).parent
    inside = folder.relative_to(tmp_path)
    (case,) = find(tmp_path, need_images=True)
    assert case.problem is None and case.stack is not None and case.image == inside
    assert case.stack.names[0] == "000001_01_01_100.png"
    assert all((tmp_path / path).is_file() for path in case.files())
    if packed:
        files = {f"flat/{path.name}": path.read_bytes() for path in folder.iterdir()}
        shutil.rmtree(folder)
        write_zip(tmp_path / "flat.zip", files)
        (case,) = find(tmp_path, need_images=True)
        assert case.problem is None and case.stack is not None
        assert case.stack.names[0] == "flat/000001_01_01_100.png"


def test_the_made_up_archive_is_the_same_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_deeplesion(tmp_path / name, 3)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) > 70
    for path in files:
        one, two = tmp_path / "one" / path, tmp_path / "two" / path
        assert one.read_bytes() == two.read_bytes()
