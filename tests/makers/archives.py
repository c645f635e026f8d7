"""Tiny archives of every kind that a recipe can read: three patients, a few voxels each."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import yaml

from demo.files import write_itk, write_nifti
from demo.measured import slice_files, table_bytes, table_row, write_zip
from makers import rtstruct, seg
from makers.dicom import FIRST_MM, SPACING_MM, STEP_MM, put, write_series
from uls_data.measure.lines import Lines
from uls_data.recipe import recipe_template

PATIENTS = (1, 2, 3)
SHAPE = (12, 10, 4)
AFFINE = np.diag([-SPACING_MM[1], -SPACING_MM[0], STEP_MM, 1.0])
AFFINE[:3, 3] = -FIRST_MM[0], -FIRST_MM[1], FIRST_MM[2]
RECIPES = Path(__file__).parents[2] / "recipes"
_CROSSES = (
    Lines((2.0, 2.5, 7.0, 2.5), (4.5, 1.0, 4.5, 4.0)),
    Lines((2.0, 7.0, 6.0, 7.0), (4.0, 5.5, 4.0, 8.5)),
)


@dataclass(frozen=True)
class Kind:
    """A kind of archive.

    Attributes
    ----------
    write : callable
        Writes it below a folder and returns its recipe.
    number : str
        Pattern of a path whose group is the number of the patient; other files belong to all.
    case : callable
        Name of a patient's cases, or what they begin with, by number.
    options : dict
        Of `build`.
    """

    write: Callable[[Path], dict[str, Any]]
    number: str = r"patient_(\d)"
    case: Callable[[int], str] = "patient_{}".format
    options: dict[str, Any] = field(default_factory=lambda: {"labels_only": True})

    @cached_property
    def _number(self) -> re.Pattern[str]:
        return re.compile(self.number)

    def patients(self, path: Path) -> set[int]:
        """Patients that a file of an archive is of."""
        match = self._number.search(path.as_posix())
        return {int(match[1])} if match else set(PATIENTS)

    def make(self, folder: Path) -> Path:
        """Write archive and recipe into `raw` and beside it; returns the recipe."""
        (folder / "raw").mkdir(parents=True)
        recipe = folder / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(self.write(folder / "raw")), encoding="utf-8")
        return recipe


def series_uid(number: int) -> str:
    """Series of a patient; its slices are `.1.1`, `.1.2`, ..., its frame of reference `.0`."""
    return f"1.2.826.0.9.{number}"


def _recipe(reader: dict[str, Any], rule: dict[str, Any] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(recipe_template("mine"))
    content |= {"reader": reader, "minimum_size": None}
    return content | ({} if rule is None else {"instances": rule, "quirks": []})


def _shipped(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((RECIPES / name / "recipe.yaml").read_text())
    return content | {"minimum_size": None}


def _series(folder: Path, number: int) -> str:
    uid = series_uid(number)

    def own(k: int, ds: pydicom.Dataset) -> None:
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uid, f"{uid}.0"
        ds.SOPInstanceUID = f"{uid}.1.{k + 1}"

    volume = np.random.default_rng(number).integers(900, 1100, SHAPE)
    write_series(folder, volume.astype(np.uint16), change=own)
    return uid


def _mask(number: int) -> Any:
    """Two lesions; the second is larger in every patient."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 2:5, 1:3] = 1
    mask[7:10, 3 : 6 + number, 1:4] = 1
    return mask


# --- DICOM ------------------------------------------------------------------


def _rtstruct(raw: Path) -> dict[str, Any]:
    square = [(2, 2), (7, 2), (7, 7), (2, 7)]
    for number in PATIENTS:
        uid = _series(raw / f"patient_{number}" / "ct", number)
        drawn = [
            rtstruct.contour(square, at, affine=AFFINE, sop_uid=f"{uid}.1.{at + 1}")
            for at in (1, 2)
        ]
        ds = rtstruct.structure_set({1: ("GTV-1", drawn), 2: ("GTV-2", []), 3: ("Heart", drawn)})
        frame = ds.ReferencedFrameOfReferenceSequence[0]
        frame.FrameOfReferenceUID = f"{uid}.0"
        frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = uid
        ds.SOPInstanceUID, ds.SeriesInstanceUID = f"{uid}.2.1", f"{uid}.2"
        ds.StudyInstanceUID, ds.Modality = "1.2.826.0.1.10", "RTSTRUCT"
        put(raw / f"patient_{number}/rs/rs.dcm", rtstruct.encoded(ds))
    reader = {"name": "dicom_objects", "kind": "rtstruct", "case": r"patient_\d+"}
    return _recipe(reader | {"structures": "GTV.*"}, {"rule": "given"})


def _seg(raw: Path) -> dict[str, Any]:
    for number in PATIENTS:
        uid = _series(raw / f"patient_{number}" / "ct", number)
        masks = {at: _mask(number) > 0 for at in (1, 2, 3)}
        masks[2][6:] = False
        ds = seg.segmentation(masks, AFFINE)
        ds.SegmentSequence[2].SegmentLabel = "Heart"
        ds.ReferencedSeriesSequence[0].SeriesInstanceUID = uid
        ds.FrameOfReferenceUID = f"{uid}.0"
        for frame in ds.PerFrameFunctionalGroupsSequence:
            source = frame.DerivationImageSequence[0].SourceImageSequence[0]
            at = source.ReferencedSOPInstanceUID.rpartition(".")[2]
            source.ReferencedSOPInstanceUID = f"{uid}.1.{at}"
        ds.SOPInstanceUID, ds.SeriesInstanceUID = f"{uid}.2.1", f"{uid}.2"
        ds.StudyInstanceUID = "1.2.826.0.1.10"
        put(raw / f"patient_{number}/seg/seg.dcm", seg.encoded(ds))
    reader = {"name": "dicom_objects", "kind": "seg", "case": r"patient_\d+"}
    rule = {"rule": "components", "values": [1], "connectivity": 6, "keep": "all"}
    return _recipe(reader | {"structures": "Lesion.*"}, rule)


def _masked(raw: Path) -> dict[str, Any]:
    for number in PATIENTS:
        _series(raw / "ct" / f"patient_{number}", number)
        write_nifti(raw / f"masks/patient_{number}.nii.gz", _mask(number), AFFINE)
    return _recipe(
        {
            "name": "dicom_masks",
            "case": r"patient_\d+",
            "patient": r"patient_(\d+)",
            "mask": "masks/{case}.nii.gz",
        }
    )


def _lidc(raw: Path) -> dict[str, Any]:
    table = ["case\tseries_instance_uid\tpatient"]
    for number in PATIENTS:
        folder = raw / f"patient_{number}" / "ct"
        uid = _series(folder, number)
        table.append(f"patient_{number}\t{uid}\tP{number}")
        first = _nodule("Nodule 1", uid, 2) + _nodule("Nodule 2", uid, 5) + _non_nodule("9", uid)
        (folder / f"{number}.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<LidcReadMessage uid="1.3.6.1" xmlns="http://www.nih.gov">\n<ResponseHeader>'
            f"<SeriesInstanceUid>{uid}</SeriesInstanceUid></ResponseHeader>\n"
            f"<readingSession>{first}</readingSession>\n"
            f"<readingSession>{_nodule('Nodule 7', uid, 2)}</readingSession>\n</LidcReadMessage>\n"
        )
    (raw.parent / "crosswalk.tsv").write_text("\n".join(table) + "\n")
    reader = {"name": "lidc_xml", "case": r"patient_\d+", "crosswalk": "crosswalk.tsv"}
    rule = {"rule": "components", "values": [1], "connectivity": 6, "keep": "all"}
    return _recipe(reader, rule)


def _nodule(name: str, uid: str, low: int) -> str:
    """XML of a nodule on two slices; the nodules at 2 and 5 touch."""
    points = [(low, 2), (low + 4, 2), (low + 4, 6), (low, 6), (low, 2)]
    edges = "".join(
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points
    )
    rois = "".join(
        f"<roi><imageZposition>{FIRST_MM[2] + STEP_MM * at:g}</imageZposition>"
        f"<imageSOP_UID>{uid}.1.{at + 1}</imageSOP_UID><inclusion>TRUE</inclusion>{edges}</roi>"
        for at in (1, 2)
    )
    return (
        f"<unblindedReadNodule><noduleID>{name}</noduleID>"
        f"<characteristics><subtlety>3</subtlety></characteristics>{rois}</unblindedReadNodule>"
    )


def _non_nodule(name: str, uid: str) -> str:
    return (
        f"<nonNodule><nonNoduleID>{name}</nonNoduleID><imageZposition>{FIRST_MM[2]:g}"
        f"</imageZposition><imageSOP_UID>{uid}.1.1</imageSOP_UID>"
        "<locus><xCoord>3</xCoord><yCoord>3</yCoord></locus></nonNodule>"
    )


def _ccc18(raw: Path) -> dict[str, Any]:
    axes = [f"{a}Axis.point{end}.{way}" for a in ("Long", "Short") for end in "12" for way in "xy"]
    columns = ["SeriesInstanceUID", "SOPInstanceUID", "annotator", "radiologist_status", "skip"]
    rows = [[*columns, *axes, "LongAxis.length", "ShortAxis.length"]]
    for number in PATIENTS:
        uid = _series(raw / f"patient_{number}" / "ct", number)
        for cross, annotator in zip((*_CROSSES, _CROSSES[0]), ("a", "a", "b"), strict=True):
            skip = "True" if annotator == "b" else "False"
            points = [f"{value + 0.5:g}" for value in cross.points.ravel()]
            rows.append([uid, f"{uid}.1.2", annotator, "radiologist", skip, *points, "", ""])
    text = "".join(",".join(row) + "\n" for row in rows)
    (raw / "CrowdsCureCancer2018.csv").write_text(text)
    return _shipped("ccc18")


# --- Volumes and tables -----------------------------------------------------


def _pairs(raw: Path) -> dict[str, Any]:
    for number in PATIENTS:
        image = np.random.default_rng(number).integers(-100, 100, SHAPE).astype(np.int16)
        write_nifti(raw / f"images/patient_{number}.nii.gz", image, AFFINE)
        write_nifti(raw / f"masks/patient_{number}.nii.gz", _mask(number), AFFINE)
    layout = {"name": "two", "image": "images/{case}.nii.gz", "mask": "masks/{case}{ext}"}
    return _recipe({"name": "volume_pairs", "layouts": [layout]})


def _lndb(raw: Path) -> dict[str, Any]:
    findings = ["LNDbID,RadID,FindingID,x,y,z,Nodule,Volume,Text"]
    merged = ["LNDbID,RadID,RadFindingID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text"]
    for number in PATIENTS:
        name = f"LNDb-{number:04d}"
        image = np.full(SHAPE, number, np.int16)
        put(raw / "data0" / "none", b"")
        write_itk(raw / f"data0/{name}.mhd", image, AFFINE)
        for reader in (1, 2):
            put(raw / "masks" / "none", b"")
            write_itk(raw / f"masks/{name}_rad{reader}.mhd", _mask(number), AFFINE)
            findings.append(f"{number},{reader},1,35,25,-95,1,100,5")
        findings.append(f"{number},1,2,35,25,-95,0,14.137167,0")
        merged.append(f'{number},"1,2","1,1",1,35,25,-95,2,1,100,5')
        merged.append(f"{number},1,2,2,35,25,-95,0,0,14.137167,0")
    for name, lines in (
        ("trainCTs", ["LNDbID,RadN", *(f"{number},2" for number in PATIENTS)]),
        ("trainNodules", findings),
        ("trainNodules_gt", merged),
    ):
        put(raw / f"trainset_csv/{name}.csv", ("\n".join(lines) + "\n").encode())
    for folder in ("data0", "masks"):
        (raw / folder / "none").unlink()
    return _shipped("lndb")


def _deeplesion(raw: Path) -> dict[str, Any]:
    rows = []
    for number in PATIENTS:
        series, shape = f"{number:06d}_01_01", (12, 10, 5)
        ct_hu = np.random.default_rng(number).integers(-100, 100, shape).astype(np.int16)
        files = slice_files(ct_hu, 100)
        rows += [table_row(series, 102, cross, shape, 100) for cross in _CROSSES]
        if number == 2:
            packed = {f"Images_png/{series}/{at}.png": data for at, data in files.items()}
            write_zip(raw / "Images_png_02.zip", packed)
        else:
            for at, data in files.items():
                put(raw / f"Images_png/{series}/{at}.png", data)
    put(raw / "DL_info.csv", table_bytes(rows))
    return _shipped("deeplesion")


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a table as Python's own reader gives them; columns in lower case."""
    text = path.read_bytes().decode("utf-8", "replace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{(key or "").lower(): value or "" for key, value in row.items()} for row in rows]


def ccc18_case(uid: str) -> str:
    """Name of a series' case."""
    return f"ccc18_{sha256(uid.encode()).hexdigest()[:12]}"


_DRAWN = {"masks": ("ellipse",)}
KINDS = {
    "rtstruct": Kind(_rtstruct),
    "seg": Kind(_seg),
    "pairs": Kind(_pairs, options={}),
    "masked": Kind(_masked, options={}),
    "lidc": Kind(_lidc),
    "lndb": Kind(_lndb, r"LNDb-000(\d)", "LNDb_000{}".format),
    "deeplesion": Kind(
        _deeplesion, r"(?:00000|png_0)(\d)(?:_01_01|\.zip)", "00000{}_01_01".format, _DRAWN
    ),
    "ccc18": Kind(
        _ccc18,
        case=lambda number: ccc18_case(series_uid(number)),
        options=_DRAWN | {"labels_only": True},
    ),
}
