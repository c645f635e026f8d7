"""A small hospital: CT with lines in a structured report and a state, reports, and three readers.

`hospital` holds DICOM series, lines that people drew on some of them, and radiology reports that
name sizes with series and image. `hospital_readers` holds a series that three readers segmented.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.dicom import uid_of, write_seg, write_series
from demo.files import recipe_text, seed_of, write
from demo.graphics import write_report, write_state
from demo.phantom import LesionSpec, Phantom, make_phantom
from uls_data.lesions.drawn_lines import COLUMNS, ENDS
from uls_data.manifest.query import query_pieces
from uls_data.manifest.row import Row
from uls_data.measure.lines import Lines
from uls_data.mining import mine

_SHAPE, _SPACING_MM = (72, 64, 20), (0.8, 0.8, 2.5)
_ORIGIN = (-28.0, 21.5, -310.0)
_SERIES_NUMBER = 4

_COMMENT = (
    "A recipe for the made-up hospital beside it: lines wherever they are, and what reports name."
)
_MEASURED = """\
reader:
  name: measurements
  case: 'p\\d{2}'
  patient: '(.*)'
  table: {file: lesions.csv}           # of `uls-data mine reports --out lesions.csv`
  drawn: drawn-lines*.csv              # what readers drew for its rows
  objects: [sr, presentation_states]
  coordinates: {shift_vox: 0, outward_vox: 0, evidence: the readers click on the border}

instances: {rule: given}
minimum_size: {measure: recist_long_mm, at_least: 5}
lesion_type: unknown
supervision: weak_2d
"""
_READ = """\
reader:
  name: dicom_objects
  kind: seg
  case: 'p\\d{2}'
  readers: {names: ['.*/reader-1/.*', '.*/reader-2/.*', '.*/reader-3/.*']}

instances: {rule: given}
minimum_size: {measure: inertia_major_vox, at_least: 5}
lesion_type: liver
"""


class _Patient:
    """One patient's series on disk, and the lines across the lesions."""

    def __init__(self, root: Path, seed: int, case: str, *lesions: LesionSpec):
        self.case, self.name = case, f"hospital {case}"
        self.phantom: Phantom = make_phantom(
            seed_of(seed, "hospital", case), _SHAPE, _SPACING_MM, lesions, 60, case
        )
        self.affine = self.phantom.affine(_ORIGIN)
        self.uids = write_series(
            root / case / "ct", self.phantom.ct_hu, self.affine, self.name, case,
            number=_SERIES_NUMBER,
        )  # fmt: skip

    def middle(self, lesion: int) -> int:
        """Slice that shows most of a lesion, from the lowest."""
        return int((self.phantom.label_map == lesion).sum(axis=(0, 1)).argmax())

    def image_number(self, lesion: int) -> int:
        """InstanceNumber of that slice; the scanner counts from the head."""
        return _SHAPE[2] - self.middle(lesion)

    def points(self, lesion: int) -> NDArray[np.float64]:
        """Return the ends of both lines as column and row of the stored slice, shape (4, 2)."""
        found = Lines.from_mask(self.phantom.label_map[:, :, self.middle(lesion)] == lesion)
        assert found is not None
        # Columns run to the patient's left, rows to the back.
        return np.array(_SHAPE[:2]) - 1 - found.points

    def lengths_mm(self, lesion: int) -> tuple[float, float]:
        """Lengths of both lines."""
        a, b, c, d = self.points(lesion) * _SPACING_MM[:2]
        return float(np.linalg.norm(b - a)), float(np.linalg.norm(d - c))

    def said(self, lesion: int) -> str:
        """Size of a lesion as a report states it."""
        long_mm, short_mm = self.lengths_mm(lesion)
        return f"{long_mm:.0f} x {short_mm:.0f} mm"


def make_hospital(root: Path, seed: int) -> list[str]:
    """Write `pNN/ct`, a report, a state, `reports/pNN.txt`, what is mined of them, and lines."""
    two = (LesionSpec((0.38, 0.5, 0.5), 8.0), LesionSpec((0.64, 0.5, 0.4), 6.5))
    first = _Patient(root, seed, "p01", *two)
    groups = [(first.uids[first.middle(n)], first.points(n), first.lengths_mm(n)) for n in (1, 2)]
    write_report(root / "p01" / "sr" / "SR0001", groups, first.name, "p01")
    second = _Patient(root, seed, "p02", two[0])
    slice_uid = second.uids[second.middle(1)]
    write_state(root / "p02" / "pr" / "PR0001", slice_uid, second.points(1), second.name, "p02")
    third = _Patient(root, seed, "p03", *two)
    written = {
        "p03": f"""CT of the abdomen. Comparison: none.
The spleen measures 110 mm. No enlarged lymph nodes.
Target lesions:
1. Metastasis in the liver, segment 6, {third.said(1)} (series 4, image {third.image_number(1)}).
2. Metastasis in the liver, segment 2, {third.said(2)} (series 4, image {third.image_number(2)}).
""",
        "p02": """CT abdomen. Vergelijking: geen.
Doellaesies:
1. Metastase in de lever van 21 x 15 mm (serie 4, beeld 90).
Geen vergrote lymfeklieren.
""",
    }
    for case, text in written.items():
        write(root / "reports" / f"{case}.txt", text.encode())
    mine(root / "reports", root / "lesions.csv")
    with (root / "lesions.csv").open(encoding="utf-8", newline="") as file:
        asked = next(
            row for row in csv.DictReader(file)
            if row["report"] == "p03.txt" and row["image_number"] == str(third.image_number(1))
        )  # fmt: skip
    ends = dict(zip(ENDS, third.points(1).ravel().tolist(), strict=True))
    long_mm, short_mm = third.lengths_mm(1)
    drawn = {
        **dict.fromkeys(COLUMNS, ""),
        **ends,
        "lesion": asked["lesion"],
        "reader": "reader-1",
        "series_instance_uid": uid_of(third.name),
        "sop_instance_uid": third.uids[third.middle(1)],
        "long_axis_mm": round(long_mm, 2),
        "short_axis_mm": round(short_mm, 2),
    }
    table = StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerow(drawn)
    write(root / "drawn-lines.csv", table.getvalue().encode())
    title = "A hospital's lines and reports"
    recipe = recipe_text("hospital", title, _COMMENT, _MEASURED)
    write(root / "hospital.yaml", recipe.encode())
    return [
        "hospital.yaml: the recipe of this folder",
        "p01: two lesions in a structured report",
        "p02: two lines in a presentation state; a Dutch report names an image that is not there",
        "p03: an English report with two lesions; a reader drew the lines of the first, and the "
        "second waits",
    ]


def make_hospital_readers(root: Path, seed: int) -> list[str]:
    """Write `p04/ct`, a SEG of each of three readers, and `hospital_readers.yaml`."""
    specs = (
        LesionSpec((0.36, 0.5, 0.5), 8.0),
        LesionSpec((0.62, 0.55, 0.5), 6.0),
        LesionSpec((0.52, 0.3, 0.4), 4.0),
    )
    patient = _Patient(root, seed, "p04", *specs)
    one, two, three = (patient.phantom.label_map == number for number in (1, 2, 3))
    # Two readers saw the second lesion, and one the third.
    readings = {1: [one, two], 2: [np.roll(one, 1, 0), np.roll(two, 1, 1), three]}
    readings[3] = [one | np.roll(one, -1, 1)]
    for reader, masks in readings.items():
        path = root / "p04" / f"reader-{reader}" / "SEG0001"
        write_seg(
            path, masks, patient.affine, patient.name, patient.uids, "p04",
            made_by=f"reader {reader}",
        )  # fmt: skip
    title = "Three readers of a scan"
    recipe = recipe_text("hospital_readers", title, _COMMENT, _READ)
    write(root / "hospital_readers.yaml", recipe.encode())
    return [
        "hospital_readers.yaml: the recipe of this folder",
        "p04: a lesion of three readers, one of two, and one of a single reader, which is skipped",
    ]


def hospital_lines(raw: Path, out: Path) -> Iterator[str]:
    """Lines that say what became of the reports, the lines and the readers' masks.

    Parameters
    ----------
    raw : Path
        Root of the raw archives.
    out : Path
        OUT of their build.
    """
    with (raw / "hospital" / "lesions.csv").open(encoding="utf-8", newline="") as file:
        mined = Counter(row["reason"] or row["status"] for row in csv.DictReader(file))
    said = ", ".join(f"{count} {what}" for what, count in sorted(mined.items()))
    yield f"  2 reports, mined into hospital/lesions.csv: {said}"
    for row in _rows(out, 'source == "hospital"'):
        found = row["layer"] if row["status"] == "ok" else row["reason"]
        long_vox = row["recist_long_vox"]
        size = "" if long_vox is None else f"long axis {long_vox:.1f} pixels"
        yield f"  {row['case_id']}  {_told_by(row):19} {found:18} {size}".rstrip()
    for row in _rows(out, 'source == "hospital_readers" and layer == "annotated"'):
        of = f"  {row['case_id']}  {row['agreement_level']} of 3 readers"
        if row["status"] == "ok":
            dice = ", ".join(f"{it['value']:.2f}" for it in row["candidate_scores"] or ())
            yield f"{of}      majority of {row['mask_voxels']} voxels; Dice of each pair {dice}"
        else:
            yield f"{of}      {row['reason']}"


def _told_by(row: Row) -> str:
    """Kind of file that tells a lesion."""
    name = row["source_lesion_id"] or ""
    if "group-" in name:
        return "structured report"
    return "presentation state" if "graphic-" in name else "radiology report"


def _rows(out: Path, expression: str) -> Iterator[Row]:
    for piece in query_pieces(out, expression):
        yield from piece.to_pylist()
