"""Lesions of mask volumes on the scan's grid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from uls_data.ids import hash_of
from uls_data.lesions.instances import find_lesions, join_votes, values_text
from uls_data.recipe.model import Components, Files, Quirk
from uls_data.sources.opening import Opened, Opening
from uls_data.volumes import Volume


def open_masks(opening: Opening, scan: Volume | None) -> Opened:
    """Lesions of the case's mask, or of the files of each instance where the recipe says so."""
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


def _by_files(opening: Opening, scan: Volume | None) -> Opened:
    """Lesions by majority vote over the files of each instance."""
    case = opening.case
    hashes: list[str] = []
    reference = scan
    by_number: dict[int, list[Path]] = {}
    for number, _, path in case.instances:
        by_number.setdefault(number, []).append(path)
    if reference is None:
        first = case.instances[0][2] if case.instances else case.mask
        assert first is not None
        reference = opening.read(first)

    def votes() -> Iterator[tuple[int, list[Volume]]]:
        for number, paths in by_number.items():
            volumes = [opening.aligned(opening.read(path), path, scan) for path in paths]
            hashes.extend(volume.sha256 for volume in volumes)
            yield number, volumes

    allowed = Quirk.FLOAT_MASK in opening.recipe.quirks
    lesions = join_votes(votes(), reference.ras.shape, case.case_id, allowed)
    sha256 = hash_of(sorted(hashes)) if hashes else None
    return opening.result(reference, scan, lesions, label_sha256=sha256)
