"""Find the cases of a source below its raw root, by the reader that its recipe names."""

from __future__ import annotations

from pathlib import Path

from uls_data.errors import SourceError
from uls_data.readers.case_files import CaseFiles
from uls_data.recipe.model import Recipe
from uls_data.recipe.reader import ArchiveOnly, Ccc18, DeepLesion, Lndb, VolumePairs


def find_cases(
    recipe: Recipe,
    root: Path,
    *,
    need_images: bool = True,
    leave_out: Path | None = None,
    cache: Path | None = None,
) -> list[CaseFiles]:
    """Cases below a raw root, sorted by name; numbers inside names in order of value.

    Names that start with `.` (macOS droppings) are passed over, links are followed
    only while they stay inside the root. A folder to leave out (the output, where it
    lies below the root) is not looked into.

    Parameters
    ----------
    need_images : bool
        Whether a case without an image is a problem.
    cache : Path, optional
        File that remembers headers of DICOM files between calls.

    Raises
    ------
    SourceError
        The root cannot be read, or holds no case of the source.
    """
    reader = recipe.reader
    if isinstance(reader, ArchiveOnly):
        raise SourceError(
            f"{recipe.source}: this version cannot build it from raw data. {reader.why}"
        )
    if not root.is_dir():
        raise SourceError(
            f"--raw {root}: no such folder; it must hold the raw data of {recipe.source}"
        )
    if isinstance(reader, VolumePairs):
        from uls_data.readers.pairs import find_pairs

        return find_pairs(recipe, reader, root, need_images, leave_out)
    if isinstance(reader, Lndb):
        from uls_data.readers.lndb import find_lndb_cases

        return find_lndb_cases(root, leave_out, need_images=need_images)
    if isinstance(reader, DeepLesion):
        from uls_data.readers.deeplesion import find_deeplesion_cases

        return find_deeplesion_cases(recipe, reader, root, leave_out, need_images=need_images)
    if isinstance(reader, Ccc18):
        from uls_data.readers.ccc18 import find_ccc18_cases

        return find_ccc18_cases(recipe, reader, root, leave_out, cache)
    from uls_data.readers.dicom_cases import find_dicom_cases

    return find_dicom_cases(recipe, reader, root, leave_out, cache)
