"""Runs of slices that were joined into volumes, as NIH's own DL_save_nifti.py does it.

Each unbroken run of a series is a file `<patient>_<study>_<series>_<first>-<last>.nii.gz` of HU,
stored as (row, column, slice), whose header says how its axes lie. What the table says about the
spacing counts here too; the header must agree with it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.sources.deeplesion.png_stack import stack_affine, stack_flags
from uls_data.sources.measurement import StackSpec
from uls_data.volumes import Volume, read_volume

# The header has the table's numbers, as 32-bit floats.
_SPACING_SHARE = 0.01


def read_volume_stack(path: Path, root: Path, stack: StackSpec) -> Volume:
    """Read the slices of a stack out of the volume that holds them.

    Parameters
    ----------
    path, root : Path
        The volume, and the raw root.
    stack : StackSpec
        With `run`, the numbers of the volume's first and last slice.

    Returns
    -------
    Volume
        On the grid that `read_png_stack` gives for the same slices. The hash is the file's.

    Raises
    ------
    CaseError
        `grid_mismatch` or `affine_mismatch`: it is not what its name and the table say;
        `bad_affine`: neither tells which way its slices run; others as `read_volume` does.
    """
    assert stack.run is not None
    first, last = stack.run
    volume = read_volume(path, root)
    columns, rows, slices = volume.ras.shape
    if sorted((columns, rows)) != sorted(stack.shape[:2]) or slices != last + 1 - first:
        raise CaseError(
            Reason.GRID_MISMATCH,
            f"{path.name}: has {columns} x {rows} pixels and {slices} slices; the table's "
            f"Image_size is {stack.shape[0]} x {stack.shape[1]}, and its name says slices {first} "
            f"to {last}; write it again with DL_save_nifti.py",
        )
    stored = _in_order(volume, path.name, stack)
    low = stack.first_slice - first
    stored = stored[:, :, low : low + stack.shape[2]]
    shape = (stored.shape[0], stored.shape[1], stored.shape[2])
    flags = (*volume.flags, *stack_flags(stack))
    return replace(volume, stored=stored, stored_affine=stack_affine(stack, shape), flags=flags)


def _in_order(volume: Volume, name: str, stack: StackSpec) -> NDArray[Any]:
    """Voxels as (column, row, slice), by ascending numbers."""
    if stack.spacing_mm is not None:
        found, told = geometry.spacing_mm(volume.affine), stack.spacing_mm
        # The script takes x for y and y for x, which are equal in every row of the table.
        pairs = zip((*sorted(found[:2]), found[2]), (*sorted(told[:2]), told[2]), strict=True)
        if any(abs(a - b) > _SPACING_SHARE * b for a, b in pairs):
            raise CaseError(
                Reason.AFFINE_MISMATCH,
                f"{name}: {geometry.describe(volume.stored_affine)}; the table's spacing is "
                f"{' x '.join(f'{mm:g}' for mm in told)} mm; get both again",
            )
        # Columns grow to the left, rows to the back, the numbers of slices towards the feet.
        return volume.ras[::-1, ::-1, ::-1]
    # The script made the header of a spacing that is none: only its own order of axes tells.
    if geometry.axis_codes(volume.stored_affine)[:2] != "PL":
        raise CaseError(
            Reason.BAD_AFFINE,
            f"{name}: {geometry.describe(volume.stored_affine)}, and no scan has the table's "
            f"spacing, so the direction of its slices is unknown; give Images_png",
        )
    return volume.stored.transpose(1, 0, 2)
