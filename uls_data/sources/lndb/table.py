"""The tables of LNDb: what each reader found, and which findings are one nodule.

Source: https://lndb.grand-challenge.org/Data, files `trainCTs.csv`, `trainNodules.csv`,
`trainNodules_gt.csv`, `trainFolds.csv` and `trainFleischner.csv`. Coordinates are mm in
the patient frame of the scan's MetaImage header, that is LPS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.tables import Row, name_below, read_rows

# Volume of a ball of 3 mm, which the tables give to every non-nodule and to every nodule below it.
SENTINEL_VOLUME_MM3 = 14.137167
_SENTINEL_SLACK_MM3 = 1e-3
MAXIMUM_READERS = 5  # five radiologists took part
MAXIMUM_FINDING_ID = 255  # masks hold it as uint8
_LARGEST_LNDB_ID = 9999  # file names give it four digits
_FARTHEST_MM = 10_000.0
_LARGEST_MM3 = 1e8
_FOLD = re.compile(r"fold([0-9])")


@dataclass(frozen=True)
class Finding:
    """One finding of one reader: a row of `trainNodules.csv`.

    Attributes
    ----------
    lndb_id, rad_id, finding_id : int
        Scan; reader (1 to 3, numbered again in every scan); that reader's number of the
        finding, which is its value in the reader's mask.
    x_mm, y_mm, z_mm : float
        Centre, LPS.
    is_nodule : bool
    volume_mm3 : float
        See `is_below_3_mm`.
    texture : float
        1 (ground glass) to 5 (solid); 0 for a non-nodule.
    """

    lndb_id: int
    rad_id: int
    finding_id: int
    x_mm: float
    y_mm: float
    z_mm: float
    is_nodule: bool
    volume_mm3: float
    texture: float

    @property
    def is_below_3_mm(self) -> bool:
        """Whether the volume is the sentinel: no measurement, a small or marked finding."""
        return abs(self.volume_mm3 - SENTINEL_VOLUME_MM3) <= _SENTINEL_SLACK_MM3


@dataclass(frozen=True)
class MergedFinding:
    """One finding of a scan, by all its readers: a row of `trainNodules_gt.csv`.

    Attributes
    ----------
    lndb_id, finding_id : int
        `finding_id` counts within the scan and is not a mask value.
    rad_ids, rad_finding_ids : tuple of int
        Who marked it, and that reader's own number for it; of one length.
    x_mm, y_mm, z_mm : float
        Mean of the readers' centres, LPS.
    agreement_level : int
        Readers who call it a nodule; 0 for a non-nodule.
    volume_mm3, texture : float
        Means over the readers, sentinels included.
    """

    lndb_id: int
    finding_id: int
    rad_ids: tuple[int, ...]
    rad_finding_ids: tuple[int, ...]
    x_mm: float
    y_mm: float
    z_mm: float
    agreement_level: int
    volume_mm3: float
    texture: float

    @property
    def is_nodule(self) -> bool:
        """Whether at least one reader calls it a nodule."""
        return self.agreement_level > 0


def read_scans(path: Path, root: Path) -> dict[int, int]:
    """Read `trainCTs.csv`: LNDbID of every training scan to RadN, its number of readers.

    Raises
    ------
    CaseError
        As all functions here: `not_training_truth`, `annotation_unreadable`,
        `unreadable` or `io_error`, with file and line.
    """
    scans: dict[int, int] = {}
    for row in _rows(path, root, "LNDbID", "RadN"):
        row.put_once(scans, _lndb_id(row), row.whole("RadN", 1, MAXIMUM_READERS))
    return scans


def read_findings(path: Path, root: Path) -> list[Finding]:
    """Read `trainNodules.csv`: the findings of all readers, in its order."""
    needed = ("LNDbID", "RadID", "FindingID", "x", "y", "z", "Nodule", "Volume", "Text")
    found: dict[tuple[int, int, int], Finding] = {}
    for row in _rows(path, root, *needed):
        key = (
            _lndb_id(row),
            row.whole("RadID", 1, MAXIMUM_READERS),
            row.whole("FindingID", 1, MAXIMUM_FINDING_ID),
        )
        nodule = row.whole("Nodule", 0, 1) == 1
        finding = Finding(*key, *_centre_mm(row), nodule, _volume_mm3(row), _texture(row))
        row.put_once(found, key, finding)
    return list(found.values())


def read_merged(path: Path, root: Path) -> list[MergedFinding]:
    """Read `trainNodules_gt.csv`: the findings of all scans, readers joined, in its order."""
    needed = ("LNDbID", "RadID", "RadFindingID", "FindingID", "x", "y", "z", "AgrLevel")
    found: dict[tuple[int, int], MergedFinding] = {}
    used: dict[tuple[int, int, int], int] = {}
    for row in _rows(path, root, *needed, "Nodule", "Volume", "Text"):
        lndb_id = _lndb_id(row)
        finding_id = row.whole("FindingID", 1, MAXIMUM_FINDING_ID)
        readers = row.wholes("RadID", 1, MAXIMUM_READERS)
        numbers = row.wholes("RadFindingID", 1, MAXIMUM_FINDING_ID)
        if len(readers) != len(numbers):
            raise row.wrong(
                f"RadID names {len(readers)} readers, RadFindingID {len(numbers)} findings"
            )
        for pair in zip(readers, numbers, strict=True):
            row.put_once(used, (lndb_id, *pair), finding_id)
        agreement = row.whole("AgrLevel", 0, len(set(readers)))
        if (agreement > 0) != (row.whole("Nodule", 0, 1) == 1):
            raise row.wrong(f"AgrLevel is {agreement}, which Nodule contradicts")
        merged = MergedFinding(
            lndb_id,
            finding_id,
            readers,
            numbers,
            *_centre_mm(row),
            agreement,
            _volume_mm3(row),
            _texture(row),
        )
        row.put_once(found, (lndb_id, finding_id), merged)
    return list(found.values())


def read_folds(path: Path, root: Path) -> dict[int, int]:
    """Read `trainFolds.csv`: LNDbID of every training scan to its fold, 0 to 3."""
    folds: dict[int, int] = {}
    for row in _rows(path, root, "Fold0"):
        for name in row.cells:
            if (match := _FOLD.fullmatch(name)) and row.cells[name].strip():
                row.put_once(folds, row.whole(name, 1, _LARGEST_LNDB_ID), int(match[1]))
    return folds


def read_fleischner(path: Path, root: Path) -> dict[int, int]:
    """Read `trainFleischner.csv`: LNDbID of every training scan to its class, 0 to 3."""
    classes: dict[int, int] = {}
    for row in _rows(path, root, "LNDbID", "Fleischner"):
        row.put_once(classes, _lndb_id(row), row.whole("Fleischner", 0, 3))
    return classes


def findings_of(
    lndb_id: int, findings: Sequence[Finding], merged: Sequence[MergedFinding]
) -> tuple[list[Finding], list[MergedFinding]]:
    """Pick the findings of one scan, and make sure that the two tables agree on them.

    Raises
    ------
    CaseError
        `annotation_mismatch`: the two tables do not name the same findings, or do not
        agree on how many readers call one a nodule.
    """
    ours = [finding for finding in findings if finding.lndb_id == lndb_id]
    joined = [finding for finding in merged if finding.lndb_id == lndb_id]
    nodules = {(finding.rad_id, finding.finding_id): finding.is_nodule for finding in ours}
    named = set[tuple[int, int]]()
    for finding in joined:
        pairs = list(zip(finding.rad_ids, finding.rad_finding_ids, strict=True))
        missing = [pair for pair in pairs if pair not in nodules]
        if missing:
            raise CaseError(
                Reason.ANNOTATION_MISMATCH,
                f"trainNodules_gt.csv joins finding {missing[0][1]} of reader {missing[0][0]} into "
                f"finding {finding.finding_id}; trainNodules.csv does not have it",
            )
        named.update(pairs)
        readers = {reader for reader, number in pairs if nodules[reader, number]}
        if len(readers) != finding.agreement_level:
            raise CaseError(
                Reason.ANNOTATION_MISMATCH,
                f"finding {finding.finding_id}: AgrLevel {finding.agreement_level} in "
                f"trainNodules_gt.csv, {len(readers)} readers call it a nodule in trainNodules.csv",
            )
    if left := sorted(nodules.keys() - named):
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"trainNodules.csv has finding {left[0][1]} of reader {left[0][0]}, "
            "which trainNodules_gt.csv joins into none",
        )
    return ours, joined


def _rows(path: Path, root: Path, *needed: str) -> Iterator[Row]:
    """Rows of a table of the training scans."""
    if path.name.lower().startswith("test"):
        raise CaseError(
            Reason.NOT_TRAINING_TRUTH,
            f"{name_below(path, root)}: a table of the challenge's test scans; it mixes nodules "
            "with decoys and does not say which is which. Give the training tables (trainset_csv)",
        )
    return read_rows(path, root, needed, Reason.NOT_TRAINING_TRUTH)


def _lndb_id(row: Row) -> int:
    return row.whole("LNDbID", 1, _LARGEST_LNDB_ID)


def _centre_mm(row: Row) -> tuple[float, float, float]:
    x, y, z = (row.real(axis, -_FARTHEST_MM, _FARTHEST_MM) for axis in "xyz")
    return x, y, z


def _volume_mm3(row: Row) -> float:
    return row.real("Volume", 0, _LARGEST_MM3)


def _texture(row: Row) -> float:
    return row.real("Text", 0, 5)
