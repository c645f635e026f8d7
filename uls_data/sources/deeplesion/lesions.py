"""A key slice of DeepLesion: its scan, and what was measured on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from uls_data.io import sha256_file
from uls_data.lesions.instances import Lesion
from uls_data.outcome import Flag, Reason
from uls_data.profile import Profile
from uls_data.recipe.reader import DeepLesion
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.deeplesion.png_stack import read_png_stack, unread_stack
from uls_data.sources.deeplesion.volume_stack import read_volume_stack
from uls_data.sources.measured import measured_lesions
from uls_data.sources.measurement import StackSpec
from uls_data.sources.opening import Opened, Opening
from uls_data.volumes.volume import Volume


@dataclass(frozen=True)
class MeasuredScan:
    """A scan and the lesions measured in it.

    Attributes
    ----------
    reference : Volume
        The scan; where it was not read, its grid alone.
    scan : Volume or None
    lesions : list of Lesion
        By number.
    flags : frozenset of Flag
    label_sha256 : str
        Of the table.
    """

    reference: Volume
    scan: Volume | None
    lesions: list[Lesion]
    flags: frozenset[Flag]
    label_sha256: str


def open_deeplesion(
    case: CaseFiles, reader: DeepLesion, raw: Path, *, labels_only: bool, profile: Profile
) -> MeasuredScan:
    """Read the slices of one key slice of DeepLesion, and what was measured on it.

    Parameters
    ----------
    case : CaseFiles
        Without a problem, with a stack.
    raw : Path
        Raw root.
    labels_only : bool
        No slice is read; the table tells the grid.
    profile : Profile
        `symmetric_slices` cuts the scan to as many slices before as after the key slice.
        `minimum_slices_above` counts those of higher number, which lie towards the feet: of the
        key slices of DL_info_val.csv, all 13 with fewer than 3 of them are not published, and
        all 19 with fewer than 3 of lower number are.

    Raises
    ------
    CaseError
        As `read_png_stack` and `read_volume_stack` do.
    """
    stack = case.stack
    assert stack is not None
    before = stack.key_slice - stack.first_slice
    after = stack.shape[2] - 1 - before
    if profile.symmetric_slices:
        stack = _symmetric(stack, min(before, after))
    if labels_only or case.image is None:
        scan, reference = None, unread_stack(stack)
    elif stack.run is not None:
        scan = reference = read_volume_stack(raw / case.image, raw, stack)
    else:
        scan = reference = read_png_stack(raw / case.image, stack)
    names = {measurement.slice_name for measurement in case.measurements}
    slice_of = dict.fromkeys(names, stack.key_slice - stack.first_slice)
    lesions = measured_lesions(case, reference, slice_of, reader.coordinates.outward_vox, profile)
    if profile.first_lesion_only:
        other = (
            Reason.NOT_FIRST_ON_SLICE,
            f"the profile {profile.name} keeps the first row of a key slice",
        )
        lesions[1:] = [replace(one, skipped=one.skipped or other) for one in lesions[1:]]
    if after < profile.minimum_slices_above:
        few = (
            Reason.FEW_SLICES_ABOVE,
            f"{after} slices of higher number than the key slice; the profile {profile.name} "
            f"wants {profile.minimum_slices_above}",
        )
        lesions = [replace(lesion, skipped=lesion.skipped or few) for lesion in lesions]
    table = raw / case.annotations[0]
    status = table.stat()
    sha256 = _sha256(table, status.st_size, status.st_mtime_ns)
    return MeasuredScan(reference, scan, lesions, frozenset(reference.flags), sha256)


def _symmetric(stack: StackSpec, half: int) -> StackSpec:
    shape = (*stack.shape[:2], 2 * half + 1)
    return replace(stack, shape=shape, first_slice=stack.key_slice - half)


@lru_cache(maxsize=2)
def _sha256(table: Path, size: int, time_ns: int) -> str:
    """Hash of a table that 32,000 cases share."""
    return sha256_file(table)


def open_key_slice(opening: Opening, reader: DeepLesion) -> Opened:
    """Open one key slice; see `open_deeplesion`."""
    found = open_deeplesion(
        opening.case,
        reader,
        opening.raw,
        labels_only=opening.labels_only,
        profile=opening.profile,
    )
    opening.flags |= found.flags
    opening.selected.update(one.source_lesion_id for one in opening.case.measurements)
    return opening.result(
        found.reference, found.scan, found.lesions, label_sha256=found.label_sha256
    )
