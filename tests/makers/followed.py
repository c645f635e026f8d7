"""Studies of patients over time: DICOM series with segmentations that are followed, made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import yaml

from makers import seg
from makers.archives import AFFINE, SHAPE
from makers.dicom import put, write_series
from uls_data.recipe import recipe_template

# By case: day of the study, and of each lesion its Tracking UID and its columns and rows.
STUDIES: dict[str, tuple[str, list[tuple[str | None, int, int]]]] = {
    "p1_a": ("20210310", [("1.2.3.77.1", 3, 3), ("1.2.3.77.2", 3, 2)]),
    "p1_b": ("20210609", [("1.2.3.77.2", 4, 2), ("1.2.3.77.1", 2, 2)]),
    "p1_c": ("20220310", [("1.2.3.77.1", 4, 3), (None, 2, 2)]),
    "p2_a": ("20190102", [("1.2.3.77.5", 3, 3)]),
}


def write_studies(raw: Path, dates: dict[str, str] | None = None, only: str = "") -> None:
    """Write a CT and its SEG for every study whose name begins so.

    Parameters
    ----------
    dates : dict of str to str, optional
        StudyDate of some cases, in the place of their own.
    """
    for number, (case, (day, lesions)) in enumerate(STUDIES.items(), start=1):
        if not case.startswith(only):
            continue
        root = f"1.2.826.0.8.{number}"
        date = (dates or {}).get(case, day)

        def own(k: int, ds: pydicom.Dataset, root: str = root, date: str = date) -> None:
            ds.StudyInstanceUID, ds.StudyDate = root, date
            ds.SeriesInstanceUID, ds.FrameOfReferenceUID = f"{root}.1", f"{root}.0"
            ds.SOPInstanceUID = f"{root}.1.{k + 1}"

        volume = np.random.default_rng(number).integers(900, 1100, SHAPE).astype(np.uint16)
        write_series(raw / case / "ct", volume, change=own)
        put(raw / case / "seg" / "seg.dcm", seg.encoded(_segmentation(root, lesions)))


def _segmentation(root: str, lesions: list[tuple[str | None, int, int]]) -> pydicom.Dataset:
    masks = {}
    for number, (_, columns, rows) in enumerate(lesions, start=1):
        masks[number] = np.zeros(SHAPE, bool)
        masks[number][2 : 2 + columns, 4 * number - 3 : 4 * number - 3 + rows, 1:3] = True
    ds = seg.segmentation(masks, AFFINE)
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = f"{root}.1"
    ds.FrameOfReferenceUID = f"{root}.0"
    for frame in ds.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        at = source.ReferencedSOPInstanceUID.rpartition(".")[2]
        source.ReferencedSOPInstanceUID = f"{root}.1.{at}"
    for segment, (uid, _, _) in zip(ds.SegmentSequence, lesions, strict=True):
        if uid is not None:
            segment.TrackingUID, segment.TrackingID = uid, "Lesion of Muster"
    ds.SOPInstanceUID, ds.SeriesInstanceUID = f"{root}.2.1", f"{root}.2"
    ds.StudyInstanceUID = root
    return ds


def write_recipe(path: Path, **more: Any) -> Path:
    """Recipe of the studies."""
    content: dict[str, Any] = yaml.safe_load(recipe_template("mine"))
    reader = {"name": "dicom_objects", "kind": "seg", "case": r"p\d_[abc]", "structures": ".*"}
    content |= {"reader": reader | {"patient": "(p.)_."}, "minimum_size": None}
    content |= {"instances": {"rule": "given"}, "quirks": [], **more}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
