"""Find the cases of a source below its raw root, by the reader that its recipe names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os.path import commonpath
from pathlib import Path

from uls_data.errors import SourceError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.recipe.model import Recipe
from uls_data.sources import format_of
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.days import with_days
from uls_data.sources.format import Search
from uls_data.volumes.raw_root import RawRoot


def find_cases(
    recipe: Recipe,
    root: Path,
    *,
    need_images: bool = True,
    leave_out: Path | None = None,
    cache: Path | None = None,
) -> list[CaseFiles]:
    """Cases below a raw root, sorted by name; numbers inside names in order of value.

    A folder that cannot be listed is a case of its own, which fails; so does every case that
    may have lost files to it.

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
    if not root.is_dir():
        raise SourceError(
            f"--raw {root}: no such folder; it must hold the raw data of {recipe.source}"
        )
    raw = RawRoot(root, leave_out)
    search = Search(recipe, raw, need_images, cache)
    try:
        cases = with_unaccounted(format_of(recipe).found(search), search.selected)
        cases = with_days(cases, recipe, root)
    except SourceError as error:
        if not raw.unlisted:
            raise
        raise SourceError(f"{error}\n  Folders that cannot be listed: {_named(raw)}") from error
    return with_unlisted(cases, raw) if raw.unlisted else cases


def with_unaccounted(cases: list[CaseFiles], selected: set[Path]) -> list[CaseFiles]:
    """Cases, and a failed one for each selected file that none of them holds: nothing vanishes."""
    left = set(selected)
    for case in cases:
        left.difference_update(case.held())
    if not left:
        return cases
    known = {case.case_id for case in cases}
    lost = []
    for path in sorted(left):
        name = readable(path.as_posix())
        detail = f"{name} is selected by the recipe and ended in no case: please report this"
        case_id = name if name not in known else f"{name} (file)"
        lost.append(CaseFiles(case_id, problem=(Reason.UNACCOUNTED, detail)))
    return sorted([*cases, *lost], key=lambda case: natural_key(case.case_id))


# What is wrong with a file itself, whatever else a folder may hold.
_OWN = (Reason.PATH_LEAVES_ROOT, Reason.UNREADABLE, Reason.TRUNCATED_FILE, Reason.IO_ERROR)


def with_unlisted(cases: list[CaseFiles], raw: RawRoot) -> list[CaseFiles]:
    """Cases, those of them failed that may lack files of an unlisted folder, and the folders."""
    folders = {
        readable(name): f"folder {readable(name)} cannot be listed ({why}); put this right and "
        "run the same command again"
        for name, why in sorted(raw.unlisted.items())
    }
    found = []
    for case in cases:
        if case.problem is not None and case.problem[0] in _OWN:
            detail = ""
        elif case.problem is not None:
            lost = next(iter(folders.values()))
            detail = f"{case.problem[1]}; it may lie in a folder that cannot be listed: {lost}"
        else:
            inside = _folder_of(case)
            detail = next((folders[name] for name in folders if inside(name)), "")
        problem = (Reason.FOLDER_UNREADABLE, detail) if detail else None
        found.append(replace(case, problem=problem) if problem else case)
    known = {case.case_id for case in found}
    found += [
        CaseFiles(name, problem=(Reason.FOLDER_UNREADABLE, detail))
        for name, detail in folders.items()
        if name not in known
    ]
    return sorted(found, key=lambda case: natural_key(case.case_id))


def _folder_of(case: CaseFiles) -> Callable[[str], bool]:
    """Whether a folder lies inside the one that holds all files of a case (not the root)."""
    files = [path.parent.as_posix() for path in case.files()]
    common = commonpath(files) if files else ""
    return lambda name: common not in ("", ".") and f"{name}/".startswith(f"{readable(common)}/")


def _named(raw: RawRoot) -> str:
    return ", ".join(f"{readable(name)} ({why})" for name, why in sorted(raw.unlisted.items())[:5])
