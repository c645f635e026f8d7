"""What of a damaged archive the rows of a build must account for.

Found by pydicom, nibabel and Python's own readers alone: nothing here asks the product what it
found.
"""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pydicom
from scipy import ndimage

from makers.archives import ccc18_case, table

_TAGS = ["SOPClassUID", "SeriesInstanceUID", "Modality", "SOPInstanceUID"]
Rows = list[dict[str, Any]]


class Told:
    """What the rows of a build say."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        columns = ("case_id", "label_source", "image_source", "series_instance_uid", "detail")
        text = " ".join(str(row[column]) for row in rows for column in columns)
        self.words = {word.strip(".") for word in re.split(r"[\s,;:()]+", text)}
        self.cases = {row["case_id"] for row in rows}
        ids = [name for row in rows for name in (row["source_lesion_id"] or "").split("+")]
        # Of several objects each is named in front of its structures.
        self.objects = {name.rpartition("/")[0] for name in ids if "/" in name}

    def names(self, *names: str) -> bool:
        """Whether a row is about one of the names, or says it."""
        return any(
            name in self.words
            or name in self.cases
            or any(f"/{name}".endswith(f"/{one}") for one in self.objects)
            for name in names
        )

    def of(self, **columns: str) -> Rows:
        """Rows that hold some values."""
        return [row for row in self.rows if all(row[k] == v for k, v in columns.items())]


def lesion_ids(rows: Rows) -> set[str]:
    """Names at the source, of rows that may be of several: `a/roi-1+b/roi-1@reader-2`."""
    found = set()
    for row in rows:
        names = (row["source_lesion_id"] or "").partition("@")[0].split("+")
        found |= {name.rpartition("/")[2] if "-" in name else name for name in names}
    return found


def unaccounted(kind: str, raw: Path, told: Told, modes: dict[Path, int]) -> list[str]:
    """Files, objects and structures of an archive that no row is about or names.

    Parameters
    ----------
    modes : dict of Path to int
        What was hidden from the build: of a folder, that is what a row must name.
    """
    lost = [
        f"{row['case_id']}: {row['reason']} {row['detail']}"
        for row in told.rows
        if row["reason"] in ("unaccounted", "internal_error")
    ]
    folders = [path for path in modes if path.is_dir()]
    for folder in folders:
        inside = any(other in folder.parents for other in folders)
        # A folder that can be listed shows its files; each of them cannot be opened.
        if not inside and modes[folder] != 0o644 and any(folder.rglob("*")):
            lost += [f"folder {folder}"] * (not told.names(folder.relative_to(raw).as_posix()))
    files = [
        path
        for path in sorted(raw.rglob("*"))
        if path.is_file() and not any(folder in path.parents for folder in folders)
    ]
    return lost + list(_CHECKS[kind](raw, files, told))


# --- DICOM ------------------------------------------------------------------


def _header(path: Path) -> pydicom.Dataset | None:
    """Header of a DICOM file; empty where it is damaged, None where it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except pydicom.errors.InvalidDicomError:
        return pydicom.Dataset() if path.suffix == ".dcm" else None
    except Exception:
        return pydicom.Dataset()


def _dicom(
    raw: Path, files: list[Path], told: Told, modality: str = "", *, by_folder: bool = True
) -> Iterator[str]:
    """Slices whose series no row is of, folders without a case, and objects that no row names."""
    headers = {path: ds for path in files if (ds := _header(path)) is not None}
    series: dict[Path, set[str]] = {}
    for path, ds in headers.items():
        if ds.get("Modality") == "CT":
            series.setdefault(path.parent, set()).add(ds.get("SeriesInstanceUID", ""))
    # A folder that names a patient is that patient's, whatever its slices say.
    for folder in series:
        name = re.search(r".*\b(patient_\d+)", folder.relative_to(raw).as_posix())
        if by_folder and name and not any(case.startswith(name[1]) for case in told.cases):
            yield f"slices in the folder of {name[1]}"
    failed = {row["series_instance_uid"] for row in told.rows if row["status"] == "failed"}
    places = {row["image_source"] for row in told.rows if row["status"] == "failed"}
    good: dict[bytes, Path] = {}
    bad = []
    for path, ds in headers.items():
        name = path.relative_to(raw).as_posix()
        kind = ds.get("Modality")
        if kind not in ("CT", modality, None):
            continue
        folder = path.parent.relative_to(raw).as_posix()
        known = told.names(name) or (
            kind != modality and told.names(ds.get("SeriesInstanceUID", "-"))
        )
        # Of damaged files among slices the first is named, the others are counted.
        known |= kind is None and (
            folder in places or bool(series.get(path.parent, set()) & failed)
        )
        if known:
            good[path.read_bytes()] = path
        else:
            bad.append(path)
    yield from (
        f"{path.relative_to(raw)} ({headers[path].get('Modality')})"
        for path in bad
        if path.read_bytes() not in good
    )


def _rtstruct(raw: Path, files: list[Path], told: Told) -> Iterator[str]:
    yield from _dicom(raw, files, told, "RTSTRUCT")
    rois = ("roi", "StructureSetROISequence", "ROINumber", "ROIName", "GTV")
    yield from _structures(raw, files, told, "RTSTRUCT", *rois)


def _seg(raw: Path, files: list[Path], told: Told) -> Iterator[str]:
    yield from _dicom(raw, files, told, "SEG")
    segments = ("segment", "SegmentSequence", "SegmentNumber", "SegmentLabel", "Lesion")
    yield from _structures(raw, files, told, "SEG", *segments)


def _structures(
    raw: Path, files: list[Path], told: Told, modality: str,
    word: str, items: str, number: str, label: str, begin: str,
) -> Iterator[str]:  # fmt: skip
    """Structures of objects that were read, and that no row of their case names."""
    for path in files:
        try:
            ds = pydicom.dcmread(path)
        except Exception:
            continue
        if ds.get("Modality") != modality:
            continue
        wanted = {
            f"{word}-{one[number].value}"
            for one in ds.get(items, [])
            if one[label].value.startswith(begin)
        }
        name = path.relative_to(raw).as_posix()
        cases = {row["case_id"] for row in told.of(label_source=name)}
        rows = [row for row in told.rows if row["case_id"] in cases and row["source_lesion_id"]]
        if rows and not wanted <= lesion_ids(rows):
            yield f"{wanted - lesion_ids(rows)} of {name}"


def _lidc(raw: Path, files: list[Path], told: Told) -> Iterator[str]:
    yield from _dicom(raw, files, told, by_folder=False)
    seen = set()
    for path in (path for path in files if path.suffix == ".xml"):
        name = path.relative_to(raw).as_posix()
        data = path.read_bytes()
        if not told.names(name) and data not in seen:
            yield name
        seen.add(data)
        try:
            root = ElementTree.fromstring(data)
        except ElementTree.ParseError:
            continue
        space = {"n": "http://www.nih.gov"}
        ids = set()
        for number, session in enumerate(root.findall("n:readingSession", space), 1):
            for tag in ("noduleID", "nonNoduleID"):
                ids |= {f"{number}/{one.text}" for one in session.findall(f".//n:{tag}", space)}
        uid = root.findtext(".//n:SeriesInstanceUid", namespaces=space)
        rows = [row for row in told.of(series_instance_uid=uid or "") if row["source_lesion_id"]]
        told_ids = {name for row in rows for name in row["source_lesion_id"].split("+")}
        if rows and not ids <= told_ids:
            yield f"{ids - told_ids} of {name}"


def _masked(raw: Path, files: list[Path], told: Told) -> Iterator[str]:
    yield from _dicom(raw, [path for path in files if ".nii" not in path.name], told)
    yield from _volumes(raw, files, told, r"masks/(patient_\d+)\.nii(?:\.gz)?")


def _ccc18(raw: Path, files: list[Path], told: Told) -> Iterator[str]:
    yield from _dicom(raw, files, told, by_folder=False)
    for path in (path for path in files if re.fullmatch(r"Crowds\w*2018.*\.csv", path.name)):
        for number, row in enumerate(table(path), 1):
            rows = told.of(case_id=ccc18_case(row.get("seriesinstanceuid", "").strip()))
            ids = {name for one in rows for name in (one["source_lesion_id"] or "").split("+")}
            whole = any(one["status"] != "ok" and not one["source_lesion_id"] for one in rows)
            if not whole and f"row-{number}" not in ids and "ccc18_unplaced" not in told.cases:
                yield f"row {number} of {path.name}"


# --- Volumes and tables -----------------------------------------------------


def _volumes(raw: Path, files: list[Path], told: Told, pattern: str) -> Iterator[str]:
    """Files whose names a pattern fits, without a row of their case; masks, without their parts."""
    for path in files:
        name = path.relative_to(raw).as_posix()
        match = re.fullmatch(pattern, name)
        if match is None:
            continue
        rows = told.of(case_id=match[1])
        if not rows:
            yield name
        elif rows[0]["label_source"] == name and any(row["status"] == "ok" for row in rows):
            # A name may contradict what is packed.
            data = path.read_bytes()
            data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
            image = nib.Nifti1Image.from_bytes(data)
            count = ndimage.label(np.asanyarray(image.dataobj) == 1)[1]
            if len({row["lesion_index"] for row in rows}) != count:
                yield f"{count} lesions of {name}"


def _pairs(raw: Path, files: list[Path], told: Told) -> Iterator[str]:
    suffix = r"(?:nii\.gz|nii|mha|mhd|nrrd)"
    yield from _volumes(raw, files, told, r"images/([^/]+?)\.nii(?:\.gz)?")
    yield from _volumes(raw, files, told, rf"masks/([^/]+?)\.{suffix}")


def _lndb(raw: Path, files: list[Path], told: Told) -> Iterator[str]:
    for path in files:
        match = re.fullmatch(r"LNDb-(\d{4})(?:_rad\d)?\.(?:mhd|mha|nrrd|nii|nii\.gz)", path.name)
        if match and not told.of(case_id=f"LNDb_{match[1]}"):
            yield path.relative_to(raw).as_posix()
        for row in table(path) if path.name == "trainNodules_gt.csv" else []:
            rows = told.of(case_id=f"LNDb_{int(row['lndbid']):04d}")
            whole = any(one["status"] == "failed" and not one["source_lesion_id"] for one in rows)
            if not whole and row["findingid"] not in lesion_ids(rows):
                yield f"finding {row['findingid']} of LNDb_{row['lndbid']}"


def _deeplesion(raw: Path, files: list[Path], told: Told) -> Iterator[str]:
    ranges: dict[str, list[tuple[int, int]]] = {}
    for path in (path for path in files if path.name == "DL_info.csv"):
        for number, row in enumerate(table(path), 1):
            case = row.get("file_name", "").removesuffix(".png")
            rows = told.of(case_id=case)
            whole = any(one["status"] == "failed" and not one["source_lesion_id"] for one in rows)
            ids = {row["source_lesion_id"] for row in rows}
            if not whole and f"row-{number}" not in {*ids, *told.cases}:
                yield f"row {number} of DL_info.csv"
            ends = row.get("slice_range", "").split(",")
            if len(ends) == 2 and all(end.strip().isdecimal() for end in ends):
                series = case.rpartition("_")[0]
                ranges.setdefault(series, []).append((int(ends[0]), int(ends[1])))
    for path in files:
        name = path.relative_to(raw).as_posix()
        match = re.fullmatch(r"(?:.*/)?(\d+_\d+_\d+)[/_](\d{1,6})\.png", name)
        if match:
            measured = any(low <= int(match[2]) <= high for low, high in ranges.get(match[1], []))
            rows = [row for row in told.rows if row["case_id"].startswith(f"{match[1]}_")]
            if not (rows and measured) and match[1] not in told.cases:
                yield name


_CHECKS: dict[str, Callable[[Path, list[Path], Told], Iterator[str]]] = {
    "rtstruct": _rtstruct,
    "seg": _seg,
    "pairs": _pairs,
    "masked": _masked,
    "lidc": _lidc,
    "lndb": _lndb,
    "deeplesion": _deeplesion,
    "ccc18": _ccc18,
}
