"""Raw archive of Crowds Cure Cancer: series of several collections, and the table of a crowd."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pydicom

from demo.dicom import PRIVATE, uid_of, write_series
from demo.files import seed_of, write
from demo.phantom import LesionSpec, Phantom, make_phantom
from uls_data.measure.lines import Lines, jittered

_SHAPE = (88, 76, 24)
_SPACING = (0.7, 0.7, 2.5)
_ORIGIN = (-28.25, 21.5, -310.0)
_AXES = [
    f"{axis}Axis.point{end}.{way}" for axis in ("Long", "Short") for end in "12" for way in "xy"
]
_COLUMNS = [
    *("SeriesInstanceUID", "SOPInstanceUID", "annotator", "radiologist_status", "teamName", "skip"),
    *(*_AXES[:4], "LongAxis.length", *_AXES[4:], "ShortAxis.length"),
    *("Finding.CodeMeaning", "Finding Site.CodeMeaning", "feedback"),
]
# Viewers count from the corner of the first pixel.
_CORNER_VOX = 0.5


class _Crowd:
    """A series on disk, and rows about it."""

    def __init__(self, root: Path, seed: int, collection: str, lesions: Sequence[LesionSpec]):
        self.name = f"ccc18 {collection}"
        self.phantom = make_phantom(
            seed_of(seed, "ccc18", collection), _SHAPE, _SPACING, lesions, 60, collection
        )
        self.random = np.random.Generator(np.random.PCG64(seed_of(seed, "ccc18", self.name)))
        patient = f"{collection}-0001"
        self.folder = root / collection / patient / "01-01-2000-CT-30178" / "2.000000-CT-75912"
        self.uids = write_series(
            self.folder, self.phantom.ct_hu, self.phantom.affine(_ORIGIN), self.name, patient
        )

    def lines(self, lesion: int, share: float = 0.0) -> Lines:
        """Lines of a lesion on its middle slice, as one annotator draws them."""
        found = Lines.from_mask(self.phantom.label_map[:, :, self.middle(lesion)] == lesion)
        assert found is not None
        return jittered(found, self.random, share)

    def middle(self, lesion: int) -> int:
        """Slice that shows most of a lesion."""
        return int((self.phantom.label_map == lesion).sum(axis=(0, 1)).argmax())

    def row(self, lines: Lines, z: int, annotator: int, **changes: str) -> dict[str, str]:
        """Row of a measurement by a radiologist."""
        return {**_row(self.phantom, lines, uid_of(self.name), self.uids[z], annotator), **changes}

    def windows(self, centre: Sequence[int], width: Sequence[int]) -> None:
        """Write display windows into all slices."""
        for path in sorted(self.folder.glob("*.dcm")):
            data, buffer = pydicom.dcmread(path), BytesIO()
            data.WindowCenter, data.WindowWidth = list(centre), list(width)
            pydicom.dcmwrite(buffer, data, enforce_file_format=True)
            write(path, buffer.getvalue())


def make_ccc18(root: Path, seed: int) -> list[str]:
    """Write `COLLECTION/PATIENT/STUDY/SERIES/*.dcm` of two collections, and the table."""
    several = (
        LesionSpec((0.38, 0.5, 0.5), 8.0),
        LesionSpec((0.64, 0.5, 0.5), 7.0),
        LesionSpec((0.52, 0.66, 0.45), 1.8),
    )
    first = _Crowd(root, seed, "TCGA-LIHC", several)
    first.windows([40], [400])
    z = first.middle(1)
    rows = [
        first.row(first.lines(1), z, 1),
        first.row(first.lines(1, 0.04), z, 2),
        first.row(first.lines(1, 0.04), z + 1, 3),
        first.row(first.lines(1, 0.2), z, 4, radiologist_status="non-radiologist"),
        first.row(first.lines(2), first.middle(2), 1),
        first.row(first.lines(3), first.middle(3), 2),
        first.row(first.lines(2), first.middle(2), 1),
    ]
    empty = dict.fromkeys([*_AXES, "LongAxis.length", "ShortAxis.length", "SOPInstanceUID"], "")
    rows.append(first.row(first.lines(1), z, 5, **empty, skip="True"))
    rows.append(first.row(first.lines(1), z, 5, SOPInstanceUID=uid_of("nowhere")))
    rows.append(first.row(first.lines(2), z, 5, **{"LongAxis.length": "55.5"}))
    point = first.lines(2)
    point = Lines(point.long, point.short[:2] * 2)
    rows.append(first.row(point, first.middle(2), 6))
    second = _Crowd(root, seed, "CPTAC-PDA", (LesionSpec((0.5, 0.5, 0.5), 9.0),))
    second.windows([50, -600], [350, 1500])
    z = second.middle(1)
    rows += [second.row(second.lines(1, 0.03), z + 1, 2), second.row(second.lines(1), z, 7)]
    rows.append({**rows[-1], "SeriesInstanceUID": uid_of("ccc18 not downloaded")})
    student = {"SeriesInstanceUID": uid_of("ccc18 students only"), "radiologist_status": "student"}
    rows += [{**rows[-1], **student}, {**rows[0], "SeriesInstanceUID": ""}]
    order = np.random.Generator(np.random.PCG64(seed_of(seed, "ccc18"))).permutation(len(rows))
    write(root / "CrowdsCureCancer2018-Results.csv", _table([rows[at] for at in order]))
    return [
        "TCGA-LIHC: a lesion of three radiologists, one of them on the next slice; a second one "
        "beside it; one of 4 mm, below the size rule; rows by somebody not a radiologist, of "
        "a skipped scan, of the same measurement again, of a slice that is not there, of a length "
        "that is not the distance of its end points, and of a short axis without length",
        "CPTAC-PDA: a lesion of two radiologists on two slices; two display windows",
        "a series that is not there, so the case fails; one that no radiologist measured; and a "
        "row that names no series",
    ]


def _row(phantom: Phantom, lines: Lines, series: str, uid: str, annotator: int) -> dict[str, str]:
    """Row by column, in columns and rows of the slice as it is stored."""
    # Stored L, P, S: columns and rows run against x and y.
    stored = np.array(phantom.label_map.shape[:2]) - 1 - lines.points + _CORNER_VOX
    long_mm, short_mm = lines.length_mm(phantom.spacing_mm)
    numbers = dict(zip(_AXES, (f"{value:.6f}" for value in stored.ravel()), strict=True))
    return {
        **dict.fromkeys(_COLUMNS, ""),
        **numbers,
        "SeriesInstanceUID": series,
        "SOPInstanceUID": uid,
        "annotator": f"{PRIVATE} {annotator}",
        "radiologist_status": "radiologist",
        "skip": "False",
        "LongAxis.length": f"{long_mm:.1f}",
        "ShortAxis.length": f"{short_mm:.1f}",
        "feedback": PRIVATE,
    }


def _table(rows: Sequence[dict[str, str]]) -> bytes:
    text = StringIO()
    for cells in ([*_COLUMNS], *([row[name] for name in _COLUMNS] for row in rows)):
        text.write(",".join(cells) + "\r\n")
    return text.getvalue().encode()
