"""Lesions of LNDb: marks of several readers, joined by the tables into lesions.

A mask is a label map: its value is that reader's number of the finding, whatever the
finding is. So a mask holds nodules, findings that are none, and centres of nodules too
small to outline, and only the tables tell which is which.

Numbers are those of the published names, as far as names and tables can tell (no mask
was available): a lesion's number is the rank, in C order of the RAS array, of its 6-connected
component in the union of *all* marks of all readers, non-nodules included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.geometry import Affine, Triple
from uls_data.ids import hash_of
from uls_data.lesions.components import Flat, components_of
from uls_data.lesions.instances import Lesion, Mark
from uls_data.lesions.votes import Agreement, Voxels, consensus, dice_scores
from uls_data.outcome import Reason
from uls_data.recipe.reader import Lndb
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.lndb.find import read_findings_of
from uls_data.sources.lndb.marks import common_grid, marks_of
from uls_data.sources.lndb.table import Finding, MergedFinding
from uls_data.sources.opening import Opened, Opening
from uls_data.volumes.volume import Volume

# A mark of one voxel is a centre, not an outline. Larger ones are for the minimum-size rule:
# the published names hold nodules whose volume in the table says "below 3 mm".
POINT_MARK_VOXELS = 1
# How far a finding's centre in the table may lie outside the box round its mask: the
# diameter of the smallest nodule that readers were asked to outline.
CENTRE_TOLERANCE_MM = 3.0

_Pair = tuple[int, int]  # (reader, that reader's number of the finding)


class ReaderRule(StrEnum):
    """Which voxels are lesion where several readers outlined it.

    UNION: those of any reader. MAJORITY: those of more than half of the readers who
    outlined this lesion (of two readers, those of both). FIRST: those of the reader with
    the lowest number. EACH: every reader's outline is a lesion of its own.
    """

    UNION = "union"
    MAJORITY = "majority"
    FIRST = "first"
    EACH = "each"


class NumberBy(StrEnum):
    """What one lesion is, and its number.

    COMPONENT: what is connected in the union of the readers' masks, numbered as the
    published names are. FINDING: a merged finding, numbered by its FindingID.
    """

    COMPONENT = "component"
    FINDING = "finding"


@dataclass(frozen=True)
class Misplaced:
    """A finding whose centre in the table lies away from its mask.

    Attributes
    ----------
    rad_id, finding_id : int
        Reader, and that reader's number of the finding.
    distance_mm : float
        From the centre to the box round the mask.
    """

    rad_id: int
    finding_id: int
    distance_mm: float


@dataclass(frozen=True)
class Joined:
    """What became of the marks of one scan.

    Attributes
    ----------
    lesions : tuple of Lesion
        By number. `readers` holds the mask of every reader who outlined it as a nodule
        (`reader-1`, ...), `agreement` how many called it one, `scores` the Dice of each
        pair of them (`reader-1/reader-2`) and, where the table's centre lies away from a
        mask, by how much.
    marks : tuple of Mark
        Findings that gave no lesion, and mask values that no table names.
    misplaced : tuple of Misplaced
        Warnings: their lesions are kept.
    """

    lesions: tuple[Lesion, ...]
    marks: tuple[Mark, ...]
    misplaced: tuple[Misplaced, ...]


def lndb_lesions(
    case: CaseFiles, raw: Path, reader: Lndb, masks: Sequence[tuple[int, Volume]]
) -> tuple[list[Lesion], list[Mark], set[str]]:
    """Lesions of one LNDb case, what is marked there and is none, and its findings by number.

    Parameters
    ----------
    case : CaseFiles
        From `uls_data.sources.lndb.find.find_lndb`.
    masks : sequence of (reader, Volume)
        On one grid.

    Raises
    ------
    CaseError
        As `join_findings`, and where the tables cannot be used.
    """
    findings, merged = read_findings_of(case, raw)
    rule = ReaderRule(reader.consensus)
    joined = join_findings(dict(masks), findings, merged, rule=rule, at_least=reader.at_least)
    return list(joined.lesions), list(joined.marks), {str(one.finding_id) for one in merged}


def join_findings(
    masks: Mapping[int, Volume],
    findings: Sequence[Finding],
    merged: Sequence[MergedFinding],
    *,
    rule: ReaderRule = ReaderRule.UNION,
    at_least: int = 1,
    number_by: NumberBy = NumberBy.COMPONENT,
) -> Joined:
    """Join the marks of all readers of one scan into lesions.

    Memory goes by the number of marked voxels, not by the size of the scan.

    Parameters
    ----------
    masks : mapping of reader to Volume
        Label maps, whole numbers, on one grid.
    findings, merged : sequences
        Rows of this scan, consistent as `lndb_tables.findings_of` returns them.
    at_least : int
        Agreement level below which nodules are left out (`below_agreement`).

    Raises
    ------
    CaseError
        `grid_mismatch`: masks of different grids; `mask_not_integer`; `too_large`: more
        is marked than nodules can be.
    """
    shape, affine = common_grid(masks)
    marks = {
        (reader, value): where
        for reader, mask in sorted(masks.items())
        for value, where in marks_of(mask, f"mask of reader {reader}").items()
    }
    by_pair = {(finding.rad_id, finding.finding_id): finding for finding in findings}
    nodules = [finding for finding in merged if finding.is_nodule]
    outlined = {
        finding.finding_id: {
            pair: marks[pair]
            for pair in _pairs(finding)
            if pair in marks and by_pair[pair].is_nodule
        }
        for finding in nodules
    }
    drawn = [finding for finding in nodules if not _is_point(outlined[finding.finding_id], by_pair)]
    away = _misplaced(marks, by_pair, shape, affine)
    skipped = [*_never_drawn(merged, drawn, marks, by_pair), *_foreign(marks, by_pair)]
    skipped += _missing(nodules, marks, by_pair)
    lesions = list[Lesion]()
    for number, members in _groups(drawn, outlined, marks, shape, number_by).items():
        agreement = max(finding.agreement_level for finding, _ in members)
        name = "+".join(str(finding.finding_id) for finding, _ in members)
        layers = {
            reader: _indices(own, shape)
            for reader, own in _by_reader(outlines for _, outlines in members).items()
        }
        voxels = _consensus(layers, rule)
        if agreement < at_least:
            detail = f"{agreement} readers call it a nodule, at least {at_least} wanted"
            skipped.append(Mark(Reason.BELOW_AGREEMENT, detail, name))
        elif not len(voxels):
            detail = f"no voxel is marked by most of its {len(layers)} readers"
            skipped.append(Mark(Reason.BELOW_AGREEMENT, detail, name))
        elif rule is ReaderRule.EACH:
            for reader, own in layers.items():
                source = f"{name}@reader-{reader}"
                lesions.append(Lesion(len(lesions) + 1, own, source, agreement=agreement))
        else:
            pairs = {pair for _, outlines in members for pair in outlines}
            readers = tuple((f"reader-{r}", own) for r, own in layers.items())
            lesions.append(
                Lesion(
                    number,
                    voxels,
                    name,
                    readers=readers,
                    agreement=agreement,
                    scores=(*dice_scores(readers), *_distances(away, pairs)),
                )
            )
    return Joined(tuple(lesions), tuple(skipped), tuple(away))


def _pairs(finding: MergedFinding) -> list[_Pair]:
    return list(zip(finding.rad_ids, finding.rad_finding_ids, strict=True))


def _is_point(outlines: Mapping[_Pair, Flat], by_pair: Mapping[_Pair, Finding]) -> bool:
    """Whether a nodule has no outline, only centres at most."""
    return all(
        by_pair[pair].is_below_3_mm and len(where) <= POINT_MARK_VOXELS
        for pair, where in outlines.items()
    )


def _groups(
    drawn: Sequence[MergedFinding],
    outlined: Mapping[int, Mapping[_Pair, Flat]],
    marks: Mapping[_Pair, Flat],
    shape: Triple,
    number_by: NumberBy,
) -> dict[int, list[tuple[MergedFinding, dict[_Pair, Flat]]]]:
    """Outlines of nodules by lesion number; a nodule in two pieces is in two components."""
    if number_by is NumberBy.FINDING:
        return {
            finding.finding_id: [(finding, dict(outlined[finding.finding_id]))]
            for finding in sorted(drawn, key=lambda finding: finding.finding_id)
        }
    union: Flat = np.unique(np.concatenate(list(marks.values()))) if marks else np.zeros(0, int)
    component = components_of(union, shape)
    groups = defaultdict[int, list[tuple[MergedFinding, dict[_Pair, Flat]]]](list)
    for finding in drawn:
        pieces = defaultdict[int, dict[_Pair, Flat]](dict)
        for pair, where in outlined[finding.finding_id].items():
            numbers = component[np.searchsorted(union, where)]
            for number in np.unique(numbers).tolist():
                pieces[number][pair] = where[numbers == number]
        for number, piece in pieces.items():
            groups[number].append((finding, piece))
    return dict(sorted(groups.items()))


def _by_reader(members: Iterable[Mapping[_Pair, Flat]]) -> dict[int, Flat]:
    """Voxels that each reader marked, over the findings of one lesion."""
    parts = defaultdict[int, list[Flat]](list)
    for outlines in members:
        for (reader, _), where in outlines.items():
            parts[reader].append(where)
    return {reader: np.unique(np.concatenate(found)) for reader, found in sorted(parts.items())}


def _consensus(layers: Mapping[int, Voxels], rule: ReaderRule) -> Voxels:
    if rule is ReaderRule.FIRST:
        return layers[min(layers)]
    how = Agreement.MAJORITY if rule is ReaderRule.MAJORITY else Agreement.ANY
    return consensus(list(layers.values()), how)


def _indices(where: Flat, shape: Triple) -> NDArray[np.int32]:
    return np.stack(np.unravel_index(where, shape), axis=1).astype(np.int32)


def _distances(away: Sequence[Misplaced], pairs: set[_Pair]) -> list[tuple[str, str, float]]:
    return [
        (f"reader-{found.rad_id}", "centre_off_mask_mm", found.distance_mm)
        for found in away
        if (found.rad_id, found.finding_id) in pairs
    ]


def _misplaced(
    marks: Mapping[_Pair, Flat], by_pair: Mapping[_Pair, Finding], shape: Triple, affine: Affine
) -> list[Misplaced]:
    away = []
    for pair, where in marks.items():
        if (finding := by_pair.get(pair)) is None:
            continue
        centre_mm = np.array([finding.x_mm, finding.y_mm, finding.z_mm, 1.0])
        centre = geometry.to_vox(affine, (geometry.LPS_TO_RAS @ centre_mm)[:3])
        box: Any = np.unravel_index(where, shape)
        nearest = np.clip(centre, [axis.min() for axis in box], [axis.max() for axis in box])
        distance_mm = float(np.linalg.norm((centre - nearest) @ affine[:3, :3].T))
        if distance_mm > CENTRE_TOLERANCE_MM:
            away.append(Misplaced(*pair, distance_mm))
    return away


def _never_drawn(
    merged: Sequence[MergedFinding],
    drawn: Sequence[MergedFinding],
    marks: Mapping[_Pair, Flat],
    by_pair: Mapping[_Pair, Finding],
) -> list[Mark]:
    """List findings that nobody outlined: no nodules, and nodules marked by their centre alone."""
    with_lesion = {finding.finding_id for finding in drawn}
    found = []
    for finding in merged:
        readers = ", ".join(map(str, sorted(set(finding.rad_ids))))
        if not finding.is_nodule:
            detail = f"marked by reader {readers} as no nodule"
            found.append(Mark(Reason.NOT_A_NODULE, detail, str(finding.finding_id)))
        elif finding.finding_id not in with_lesion and not any(
            _is_measured(by_pair[pair]) for pair in _pairs(finding)
        ):
            voxels = sum(len(marks.get(pair, ())) for pair in _pairs(finding))
            detail = f"a nodule that reader {readers} marked without an outline: {voxels} voxels"
            found.append(Mark(Reason.POINT_MARK, detail, str(finding.finding_id)))
    return found


def _foreign(marks: Mapping[_Pair, Flat], by_pair: Mapping[_Pair, Finding]) -> list[Mark]:
    """Mask values without a row in the tables."""
    return [
        Mark(
            Reason.ANNOTATION_MISMATCH,
            f"mask of reader {reader}: {len(where)} voxels hold {value}, which no table names",
            f"value-{value}@reader-{reader}",
        )
        for (reader, value), where in marks.items()
        if (reader, value) not in by_pair
    ]


def _missing(
    nodules: Sequence[MergedFinding],
    marks: Mapping[_Pair, Flat],
    by_pair: Mapping[_Pair, Finding],
) -> list[Mark]:
    """Readers whose mask lacks a nodule that the tables give a volume."""
    return [
        Mark(
            Reason.ANNOTATION_MISMATCH,
            f"reader {reader} measured finding {number} ({by_pair[reader, number].volume_mm3:.4g} "
            "mm3), but no voxel of that reader's mask holds it",
            f"{finding.finding_id}@reader-{reader}",
        )
        for finding in nodules
        for reader, number in _pairs(finding)
        if (reader, number) not in marks and _is_measured(by_pair[reader, number])
    ]


def _is_measured(finding: Finding) -> bool:
    return finding.is_nodule and not finding.is_below_3_mm


def open_scan(opening: Opening, reader: Lndb) -> Opened:
    """Open one scan with the masks of its readers; see `lndb_lesions`."""
    scan = opening.image()
    masks = [
        (annotator, opening.aligned(opening.read(path), path, scan))
        for _, annotator, path in opening.case.instances
    ]
    lesions, marks, findings = lndb_lesions(opening.case, opening.raw, reader, masks)
    opening.selected |= findings
    sha256 = hash_of(sorted(mask.sha256 for _, mask in masks))
    return opening.result(scan or masks[0][1], scan, lesions, marks, sha256)
