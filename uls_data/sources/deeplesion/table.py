"""DL_info.csv of DeepLesion: one measured lesion a row, several rows a key slice.

Source: https://nihcc.app.box.com/v/DeepLesion, and 5,281 rows of public parts of the table. The
long axis stands first in all of them; end points are (column, row) in pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from uls_data.errors import CaseError, SourceError
from uls_data.measure.lines import Lines
from uls_data.outcome import LesionType, Reason
from uls_data.recipe.part import Coordinates
from uls_data.sources.measurement import Measurement, StackSpec
from uls_data.tables import Row, read_rows

_NEEDED = (
    *("File_name", "Key_slice_index", "Measurement_coordinates", "Lesion_diameters_Pixel_"),
    *("Possibly_noisy", "Slice_range", "Spacing_mm_px_", "Image_size"),
)
# The table has 8.5 MB.
_MAXIMUM_BYTES = 64 << 20
_SERIES_AND_SLICE = re.compile(r"([0-9]+_[0-9]+_[0-9]+)_([0-9]{1,6})")
_LESION_TYPES = {
    "-1": LesionType.UNKNOWN,
    "1": LesionType.BONE,
    "2": LesionType.ABDOMEN,
    "3": LesionType.MEDIASTINUM,
    "4": LesionType.LIVER,
    "5": LesionType.LUNG,
    "6": LesionType.KIDNEY,
    "7": LesionType.SOFT_TISSUE,
    "8": LesionType.PELVIS,
}
_SPLITS = {"1": "train", "2": "val", "3": "test"}
# Names of slices have six digits at most.
LARGEST_NUMBER = 999_999
_MOST_COLUMNS, _MOST_SLICES = 4096, 4000
_FARTHEST_VOX = 1e5
_IN_PLANE_MM, _BETWEEN_MM = (0.1, 5.0), (0.05, 25.0)
# The table's lengths differ from its end points' by up to 0.0014 px.
_LENGTH_SLACK_VOX = 0.1
_NOWHERE = Lines((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class KeySliceRows:
    """What the table says about one key slice.

    Attributes
    ----------
    case_id : str
        `<patient>_<study>_<series>_<slice>`; `row-<number>` of a row that names none.
    series : str
        `<patient>_<study>_<series>`, the name of the slices' folder.
    stack : StackSpec or None
    measurements : tuple of Measurement
        In the table's order, numbered from 1; one that cannot be used says why.
    problem : (Reason, str) or None
    """

    case_id: str
    series: str = ""
    stack: StackSpec | None = None
    measurements: tuple[Measurement, ...] = ()
    problem: tuple[Reason, str] | None = None


def read_table(path: Path, root: Path, case: str, coordinates: Coordinates) -> list[KeySliceRows]:
    """All key slices of the table, in its order. A row that cannot be used spoils no other.

    Parameters
    ----------
    path, root : Path
        The table, and the raw root.
    case : str
        Regular expression of a case's name.
    coordinates : Coordinates
        Of the recipe; end points are given after its shift.

    Raises
    ------
    SourceError
        It is no such table.
    """
    rows: dict[str, list[tuple[int, Row]]] = {}
    nameless: list[KeySliceRows] = []
    try:
        table = read_rows(
            path,
            root,
            _NEEDED,
            Reason.ANNOTATION_UNREADABLE,
            maximum_bytes=_MAXIMUM_BYTES,
            ragged=True,
        )
        for number, row in enumerate(table, 1):
            name = row.cells["file_name"].strip().removesuffix(".png")
            if re.fullmatch(case, name) and _SERIES_AND_SLICE.fullmatch(name):
                rows.setdefault(name, []).append((number, row))
                continue
            error = row.wrong("File_name: expected <patient>_<study>_<series>_<slice>.png")
            nameless.append(KeySliceRows(f"row-{number}", problem=(error.reason, error.detail)))
    except CaseError as error:
        raise SourceError(f"--raw {root}: {error.detail}") from error
    return [_key_slice(name, its, coordinates) for name, its in rows.items()] + nameless


def _key_slice(case_id: str, rows: list[tuple[int, Row]], coordinates: Coordinates) -> KeySliceRows:
    series, digits = case_id.rpartition("_")[::2]
    stack: StackSpec | None = None
    problem: CaseError | None = None
    measurements = []
    for rank, (number, row) in enumerate(rows, 1):
        lines, wrong = _NOWHERE, None
        try:
            its = _stack(row, int(digits))
            stack = stack or its
            lines = _lines(row).moved(coordinates.shift_vox, coordinates.shift_vox)
            if its != stack:
                raise CaseError(
                    Reason.ANNOTATION_MISMATCH,
                    f"{row.where}: Slice_range, Spacing_mm_px_ or Image_size differ from those of "
                    "the key slice's first row; get the table again, unedited",
                )
        except CaseError as error:
            problem = problem or error
            wrong = (error.reason, error.detail)
        measurements.append(_measurement(row, number, rank, f"{case_id}.png", lines, wrong))
    if stack is None and problem is not None:
        return KeySliceRows(case_id, series, problem=(problem.reason, problem.detail))
    return KeySliceRows(case_id, series, stack, tuple(measurements))


def _stack(row: Row, key_slice: int) -> StackSpec:
    first, last = _pair(row, "Slice_range", 0, LARGEST_NUMBER)
    columns, lines = _pair(row, "Image_size", 1, _MOST_COLUMNS)
    if not first <= key_slice <= last < first + _MOST_SLICES:
        raise row.wrong(f"Slice_range: {first} to {last} is not a range around slice {key_slice}")
    if row.whole("Key_slice_index", 0, LARGEST_NUMBER) != key_slice:
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"{row.where}: Key_slice_index is not the {key_slice} of File_name; "
            "get the table again, unedited",
        )
    return StackSpec((columns, lines, last + 1 - first), _spacing_mm(row), first, key_slice)


def _pair(row: Row, column: str, low: int, high: int) -> tuple[int, int]:
    numbers = row.wholes(column, low, high)
    if len(numbers) != 2:
        raise row.wrong(f"{column}: expected two numbers, found {len(numbers)}")
    return numbers[0], numbers[1]


def _spacing_mm(row: Row) -> tuple[float, float, float] | None:
    """Return the spacing, or None for one that no scan has (NaN, negative and 0 are known)."""
    try:
        x, y, z = row.reals("Spacing_mm_px_", 3, min(_IN_PLANE_MM[0], _BETWEEN_MM[0]), 25.0)
    except CaseError:
        return None
    in_plane = all(_IN_PLANE_MM[0] <= value <= _IN_PLANE_MM[1] for value in (x, y))
    return (x, y, z) if in_plane and _BETWEEN_MM[0] <= z <= _BETWEEN_MM[1] else None


def _lines(row: Row) -> Lines:
    points = row.reals("Measurement_coordinates", 8, -_FARTHEST_VOX, _FARTHEST_VOX)
    lines = Lines.of(points)
    stated = row.reals("Lesion_diameters_Pixel_", 2, 0, _FARTHEST_VOX)
    found = (lines.long_vox, lines.short_vox)
    if any(abs(a - b) > _LENGTH_SLACK_VOX for a, b in zip(found, stated, strict=True)):
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"{row.where}: Lesion_diameters_Pixel_ are {stated[0]:g} and {stated[1]:g}, the end "
            f"points {found[0]:g} and {found[1]:g} px apart; get the table again, unedited",
        )
    return lines if found[0] >= found[1] else Lines(lines.short, lines.long)


def _measurement(
    row: Row,
    number: int,
    rank: int,
    slice_name: str,
    lines: Lines,
    wrong: tuple[Reason, str] | None,
) -> Measurement:
    """Return a row as a measurement; what only describes it is left out where it is unusable."""
    cells = row.cells
    try:
        low, high = row.reals("DICOM_windows", 2, -_FARTHEST_VOX, _FARTHEST_VOX)
        window = (low, high) if low < high else None
    except (CaseError, KeyError):
        window = None
    try:
        age: float | None = row.real("Patient_age", 0, 130)
    except (CaseError, KeyError):
        age = None
    sex = cells.get("patient_gender", "").strip().upper()
    return Measurement(
        number=rank,
        source_lesion_id=f"row-{number}",
        slice_name=slice_name,
        lines=lines,
        window_hu=window,
        lesion_type=_coded(cells, "Coarse_lesion_type", _LESION_TYPES) or LesionType.UNKNOWN,
        columns=(
            ("source_split", _coded(cells, "Train_Val_Test", _SPLITS)),
            ("patient_sex", sex if sex in ("F", "M") else None),
            ("patient_age_years", age),
        ),
        noisy=_coded(cells, "Possibly_noisy", {"1": True}) is not None,
        skipped=wrong,
    )


def _coded(cells: Mapping[str, str], column: str, codes: Mapping[str, _Value]) -> _Value | None:
    text = cells.get(column.lower(), "").strip()
    return codes.get(text.removesuffix(".0"))
