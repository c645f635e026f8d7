"""Raw archive of DeepLesion: 16-bit PNG slices, some of them in a zip archive, and its table."""

from __future__ import annotations

import csv
import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.files import seed_of, write
from demo.phantom import LesionSpec, Phantom, make_phantom
from uls_data.measure.lines import Lines

COLUMNS = (
    *("File_name", "Patient_index", "Study_index", "Series_ID", "Key_slice_index"),
    *("Measurement_coordinates", "Bounding_boxes", "Lesion_diameters_Pixel_"),
    *("Normalized_lesion_location", "Coarse_lesion_type", "Possibly_noisy", "Slice_range"),
    *("Spacing_mm_px_", "Image_size", "DICOM_windows", "Patient_gender", "Patient_age"),
    "Train_Val_Test",
)
_SHAPE = (96, 80, 24)
_SPACING = (0.8, 0.8, 2.5)
_ZIP_TIME = (2020, 1, 1, 0, 0, 0)
_ZERO_HU = 32768


def png_bytes(pixels: NDArray[Any]) -> bytes:
    """Bytes of a grey PNG of 8 or 16 bits, without interlacing.

    Parameters
    ----------
    pixels : ndarray, shape (rows, columns), uint8 or uint16
    """
    rows, columns = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    # Each line starts with the number of its filter, which is none.
    lines = np.zeros((rows, 1 + columns * depth // 8), np.uint8)
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    lines[:, 1:] = np.ascontiguousarray(big_endian).view(np.uint8).reshape(rows, -1)
    header = struct.pack(">IIBBBBB", columns, rows, depth, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def slice_files(ct_hu: NDArray[Any], first: int) -> dict[int, bytes]:
    """PNG files of a scan by their number: the slice nearest the head comes first.

    Parameters
    ----------
    ct_hu : ndarray, shape (x, y, z), RAS
    first : int
    """
    values = (ct_hu.astype(np.int32) + _ZERO_HU).astype(np.uint16)
    count = values.shape[2]
    # Columns run to the patient's left, rows to the back.
    return {first + at: png_bytes(values[::-1, ::-1, count - 1 - at].T) for at in range(count)}


def table_row(
    series: str,
    key_slice: int,
    lines: Lines,
    shape: Sequence[int],
    first: int,
    spacing: str = "0.8, 0.8, 2.5",
    **cells: str,
) -> dict[str, str]:
    """One row of DL_info.csv.

    Parameters
    ----------
    series : str
        `<patient>_<study>_<series>`.
    lines : Lines
        In RAS indices of the scan; the table counts columns and rows from the edge of the first.
    shape : sequence of int
        Of the scan: x, y, z.
    first : int
        Number of its first slice.
    **cells : str
        Further columns, instead of what they hold by default.
    """
    table = np.array([shape[0] - 0.5, shape[1] - 0.5]) - lines.points
    low, high = table.min(axis=0) - 5, table.max(axis=0) + 5
    patient, study, number = series.split("_")
    row = {
        "File_name": f"{series}_{key_slice:03d}.png",
        "Patient_index": str(int(patient)),
        "Study_index": str(int(study)),
        "Series_ID": str(int(number)),
        "Key_slice_index": str(key_slice),
        "Measurement_coordinates": _numbers(table.ravel()),
        "Bounding_boxes": _numbers((*low, *high)),
        "Lesion_diameters_Pixel_": _numbers((lines.long_vox, lines.short_vox)),
        "Normalized_lesion_location": "0.5, 0.5, 0.5",
        "Coarse_lesion_type": "-1",
        "Possibly_noisy": "0",
        "Slice_range": f"{first}, {first + shape[2] - 1}",
        "Spacing_mm_px_": spacing,
        "Image_size": f"{shape[0]}, {shape[1]}",
        "DICOM_windows": "-175, 275",
        "Patient_gender": "F",
        "Patient_age": "62",
        "Train_Val_Test": "1",
    }
    return row | cells


def table_bytes(rows: Sequence[dict[str, str]]) -> bytes:
    """DL_info.csv of these rows."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """Zip archive of some files, with one fixed time."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content)
    write(path, data.getvalue())


def measure(mask: NDArray[Any]) -> Lines:
    """Lines over a mask of shape (x, y), from edge to edge of its outermost pixels."""
    lines = Lines.from_mask(mask)
    assert lines is not None
    points = lines.points
    for a, b in ((0, 1), (2, 3)):
        way = (points[b] - points[a]) / max(1.0, float(np.hypot(*(points[b] - points[a]))))
        points[a] -= 0.5 * way
        points[b] += 0.5 * way
    return Lines.of(points)


@dataclass
class _Series:
    """A phantom, and how its slices are numbered."""

    name: str
    phantom: Phantom
    first: int

    def row(self, lesion: int, z: int = _SHAPE[2] // 2, **cells: str) -> dict[str, str]:
        """Row of a lesion, measured on RAS slice z."""
        mask = self.phantom.label_map == lesion
        shape = mask.shape
        key_slice = self.first + shape[2] - 1 - z
        return table_row(self.name, key_slice, measure(mask[:, :, z]), shape, self.first, **cells)

    def files(self) -> dict[str, bytes]:
        """PNG files by name."""
        made = slice_files(self.phantom.ct_hu, self.first)
        return {f"Images_png/{self.name}/{at:03d}.png": data for at, data in made.items()}


def make_deeplesion(root: Path, seed: int) -> list[str]:
    """Write DL_info.csv and its slices: some folders in Images_png_01.zip, some unpacked."""

    def series(name: str, first: int, *lesions: LesionSpec) -> _Series:
        own = seed_of(seed, "deeplesion", name)
        return _Series(name, make_phantom(own, _SHAPE, _SPACING, lesions, 90, name), first)

    left, right = LesionSpec((0.35, 0.5, 0.5), 7.0), LesionSpec((0.66, 0.45, 0.5), 6.0)
    several = series("000001_01_01", 101, left, right, LesionSpec((0.5, 0.65, 0.25), 5.0))
    edge = series("000002_01_01", 1, LesionSpec((0.5, 0.5, 1.0), 7.0, at_edge=True), left)
    broken = series("000003_01_01", 40, left)
    upper, lower = series("000004_02_01", 20, left), series("000004_02_01", 60, right)
    odd = series("000005_01_01", 995, left, right)
    absent = series("000006_01_01", 10, left)
    heldout = series("000102_01_01", 200, right)

    line = odd.row(2)
    points = line["Measurement_coordinates"].split(", ")
    no_length = _numbers([float(v) for v in (*points[:4], *points[4:6], *points[4:6])])
    zero = {
        "Measurement_coordinates": no_length,
        "Lesion_diameters_Pixel_": f"{line['Lesion_diameters_Pixel_'].split(', ')[0]}, 0",
    }
    rows = [
        several.row(1, Coarse_lesion_type="4"),
        several.row(2, Coarse_lesion_type="4", Train_Val_Test="2"),
        several.row(3, _SHAPE[2] // 4, Coarse_lesion_type="6", DICOM_windows="-160, 240"),
        edge.row(1, _SHAPE[2] - 1, Coarse_lesion_type="5", DICOM_windows="-1500, 500"),
        edge.row(2, Possibly_noisy="1"),
        broken.row(1),
        upper.row(1, Patient_gender="M"),
        lower.row(1, Patient_gender="M", Patient_age="NaN"),
        odd.row(1, spacing="0.8, 0.8, -2.5"),
        line | zero | {"Spacing_mm_px_": "0.8, 0.8, -2.5"},
        absent.row(1),
        heldout.row(1, Train_Val_Test="3"),
    ]
    write(root / "DL_info.csv", table_bytes(rows))
    packed = several.files() | upper.files() | lower.files() | heldout.files()
    packed["__MACOSX/Images_png/000001_01_01/._101.png"] = b"\x00\x05\x16\x07"
    write_zip(root / "Images_png_01.zip", packed)
    for one in (edge, broken, odd):
        for name, data in one.files().items():
            write(root / name, data)
    cut = root / "Images_png" / broken.name / f"{broken.first + 3:03d}.png"
    cut.write_bytes(cut.read_bytes()[:900])
    return [
        "000001_01_01: three lesions, two of them on one key slice; in Images_png_01.zip",
        "000002_01_01: a key slice that is the first of its scan, and one marked as noisy",
        "000003_01_01: one of its PNG files is cut off, so the case fails",
        "000004_02_01: a hole parts two groups of slices; each has a key slice",
        "000005_01_01: a negative spacing, numbers from 995 to 1018, and a line without length",
        "000006_01_01: in the table, but its slices are not there, so the case fails",
        "000102_01_01: a patient held out in deeplesion3d, so held out here",
    ]


def _numbers(values: Any) -> str:
    return ", ".join(f"{float(value):g}" for value in values)
