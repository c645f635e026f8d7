"""Read one volume of any format."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from uls_data.errors import CaseError
from uls_data.outcome import Flag, Reason
from uls_data.recipe.model import Quirk
from uls_data.volumes.advice import check_start
from uls_data.volumes.b2nd import SUFFIX as STORED
from uls_data.volumes.nifti import nifti_size, read_nifti
from uls_data.volumes.volume import SUFFIXES, Volume, check_file, suffix_of

if TYPE_CHECKING:
    from uls_data.volumes.slicer import SlicerSegmentation


def read_volume(path: Path, root: Path, quirks: Collection[Quirk] = tuple(Quirk)) -> Volume:
    """Read one volume.

    Parameters
    ----------
    path : Path
        .nii, .nii.gz, .mha, .mhd or .nrrd.
    root : Path
        Raw root; a file that names another (.mhd) may not lead out of it.
    quirks : collection of Quirk
        What the recipe accepts.

    Raises
    ------
    CaseError
        With the reason, and what was expected and found.
    """
    with _reading(path):
        if suffix_of(path) in (".nii", ".nii.gz"):
            volume = read_nifti(path)
        elif suffix_of(path):
            from uls_data.volumes.itk import read_itk  # SimpleITK is large

            volume = read_itk(path, root)
        elif path.suffix == STORED:
            raise CaseError(
                Reason.UNSUPPORTED_FORMAT,
                f"{path.name}: an array of a store, which training and open_voi alone read; name "
                "the build that it was exported from",
            )
        else:
            raise CaseError(
                Reason.UNSUPPORTED_FORMAT, f"{path.name}: expected one of {', '.join(SUFFIXES)}"
            )
    if Flag.TRAILING_AXIS_DROPPED in volume.flags and Quirk.TRAILING_AXIS not in quirks:
        raise CaseError(
            Reason.NOT_3D,
            f"{path.name}: has trailing axes of length 1; if that is as it should be, "
            f"list the quirk {Quirk.TRAILING_AXIS} in the recipe",
        )
    return volume


def read_segments(path: Path, root: Path) -> SlicerSegmentation:
    """Read a segmentation of 3D Slicer, whose segments have names.

    Parameters
    ----------
    path : Path
        .nrrd
    root : Path
        Raw root, as for `read_volume`.

    Raises
    ------
    CaseError
        `annotation_mismatch` where it has no named segments; others as `read_volume`.
    """
    from uls_data.volumes.slicer import read_slicer

    with _reading(path):
        if suffix_of(path) != ".nrrd":
            raise CaseError(
                Reason.UNSUPPORTED_FORMAT,
                f"{path.name}: expected a .seg.nrrd of 3D Slicer, whose segments have names; "
                "without names, leave reader.segments out of the recipe",
            )
        return read_slicer(path, root)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Refuse what is not a volume, and say what the system says in a row's words."""
    try:
        check_file(path)
        check_start(path)
        yield
    except OSError as error:
        raise CaseError(
            Reason.IO_ERROR, f"{path.name}: {error.strerror or type(error).__name__}"
        ) from error


def decoded_size(path: Path) -> tuple[int, int]:
    """Voxels of a volume and the bytes they take once decoded, from its header alone.

    Raises
    ------
    CaseError, OSError
        As `read_volume` does for what a header can show.
    """
    check_file(path)
    if suffix_of(path) in (".nii", ".nii.gz"):
        return nifti_size(path)
    from uls_data.volumes.metaheader import declared_size

    return declared_size(path)
