"""Lesions of mask volumes on the scan's grid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.lesions.instances import (
    Lesion,
    find_lesions,
    marks_in,
    values_text,
)
from uls_data.lesions.joined import by_component, join_votes, joined
from uls_data.outcome import Flag, Reason
from uls_data.recipe.model import Components, Files, Quirk
from uls_data.sources.opening import Opened, Opening
from uls_data.volumes import Volume, read_segments

if TYPE_CHECKING:
    from uls_data.volumes.slicer import NamedSegment


def open_masks(opening: Opening, scan: Volume | None, segments: str | None = None) -> Opened:
    """Lesions of the case's mask, or of the files of each instance where the recipe says so.

    Parameters
    ----------
    segments : str, optional
        Regular expression of the names of segments that are lesions, in a .seg.nrrd.
    """
    if segments is not None:
        return _by_segments(opening, scan, re.compile(segments))
    if isinstance(opening.recipe.instances, Files):
        return _by_files(opening, scan)
    path = opening.case.mask
    assert path is not None
    mask = opening.aligned(opening.read(path), path, scan)
    lesions = find_lesions(mask, opening.recipe, path.name)
    opened = opening.result(scan or mask, scan, lesions, label_sha256=mask.sha256)
    if not lesions:
        rule = opening.recipe.instances
        wanted = rule.values if isinstance(rule, Components) else "any but 0"
        opened.found = f"expected lesion values {wanted}, found {values_text(mask)}"
    return opened


def _by_segments(opening: Opening, scan: Volume | None, pattern: re.Pattern[str]) -> Opened:
    """Lesions of the segments whose names fit: each is one, or their union is split."""
    path = opening.case.mask
    assert path is not None
    found = read_segments(opening.raw / path, opening.raw)
    chosen = tuple(one for one in found.segments if pattern.fullmatch(one.name))
    if not chosen:
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"{path.name}: expected a segment whose name fits {pattern.pattern!r}, found "
            f"{len(found.segments)} others; change reader.segments in the recipe",
        )
    rule = opening.recipe.instances
    if isinstance(rule, Components):
        mask = opening.aligned(found.mask(chosen, rule.values[0]), path, scan)
        lesions = find_lesions(mask, opening.recipe, path.name)
    else:
        lesions = []
        for index, one in enumerate(chosen, start=1):
            mask = opening.aligned(found.mask((one,)), path, scan)
            lesions.append(_of_segment(index, one, mask))
    opening.flags |= set(mask.flags)
    opened = opening.result(scan or mask, scan, lesions, label_sha256=found.sha256)
    if not lesions:
        opened.found = f"{len(chosen)} segments whose names fit, and no voxel in them"
    return opened


def _of_segment(index: int, segment: NamedSegment, mask: Volume) -> Lesion:
    voxels = np.argwhere(mask.ras).astype(np.int32)
    name = f"segment-{segment.number}"
    if len(voxels):
        return Lesion(index, voxels, name)
    empty = (Reason.NO_LESION, f"segment {segment.number} has no voxel")
    return Lesion(index, voxels, name, skipped=empty, flags=(Flag.STRUCTURE_EMPTY,))


def _by_files(opening: Opening, scan: Volume | None) -> Opened:
    """Lesions by majority vote over the files of each instance, or of each annotator."""
    case = opening.case
    hashes: list[str] = []
    reference = scan
    by_number: dict[int | None, dict[int, Path]] = {}
    for number, annotator, path in case.instances:
        by_number.setdefault(number, {})[annotator] = path
    if reference is None:
        first = case.instances[0][2] if case.instances else case.mask
        assert first is not None
        reference = opening.read(first)

    def read(path: Path) -> Volume:
        volume = opening.aligned(opening.read(path), path, scan)
        hashes.append(volume.sha256)
        return volume

    def votes() -> Iterator[tuple[int, dict[int, Volume]]]:
        for number, paths in by_number.items():
            assert number is not None
            opening.selected.add(f"instance-{number}")
            yield number, {annotator: read(path) for annotator, path in paths.items()}

    shape = reference.ras.shape
    allowed = Quirk.FLOAT_MASK in opening.recipe.quirks
    if None in by_number:
        readers = by_number[None]
        marks = [
            np.argwhere(marks_in(read(path), shape, path.name, allowed)).astype(np.int32)
            for path in readers.values()
        ]
        numbers = [*readers]
        lesions = [
            joined(index, [(numbers[at], own) for at, own in group], numbers, None)
            for index, group in enumerate(by_component(marks, shape), 1)
        ]
    else:
        lesions = join_votes(votes(), shape, case.case_id, allowed)
    sha256 = hash_of(sorted(hashes)) if hashes else None
    return opening.result(reference, scan, lesions, label_sha256=sha256)
