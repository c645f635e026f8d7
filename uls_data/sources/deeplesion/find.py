"""Find the cases of DeepLesion: key slices of its table, and the slices around each.

Slices lie in folders `<patient>_<study>_<series>`, anywhere below the raw root or inside zip
archives there, which are never unpacked; or joined into volumes
`<patient>_<study>_<series>_<first>-<last>.nii.gz`, as NIH's own script writes them. One look
through the root finds them; they are remembered as runs of numbers, for there are 928,000.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.recipe.reader import DeepLesion
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.deeplesion.table import LARGEST_NUMBER, KeySliceRows, read_table
from uls_data.sources.format import Search
from uls_data.sources.measurement import StackSpec
from uls_data.sources.patterns import split_suffix
from uls_data.volumes.raw_root import RawRoot, check_inside

# In a folder for each series, as NIH's archives have them, or all in one, as copies elsewhere.
_SLICE = re.compile(
    r"(?P<folder>(?:.*/)?)(?P<series>[0-9]+_[0-9]+_[0-9]+)(?P<mark>[/_])(?P<stem>[0-9]{1,6})\.png"
)
_VOLUME = re.compile(r"(?P<series>[0-9]+_[0-9]+_[0-9]+)_(?P<first>[0-9]{1,6})-(?P<last>[0-9]{1,6})")


@dataclass(frozen=True)
class Folder:
    """Slices in one folder, or in one volume.

    Attributes
    ----------
    image : Path
        The folder, the archive that holds it, or the volume, relative to the raw root.
    inside : str
        The folder's name inside the archive.
    prefix : str
        What stands before the number of a slice in its name.
    digits : int
        Fewest digits of a slice's name.
    runs : tuple of (int, int)
        First and last number of each unbroken run, ascending.
    joined : bool
        Whether it is a volume, which is one run.
    odd : tuple of str
        Further names, which do not number a slice as the others do: `0101` beside `101`.
    """

    image: Path
    inside: str
    prefix: str
    digits: int
    runs: tuple[tuple[int, int], ...]
    joined: bool = False
    odd: tuple[str, ...] = ()

    def run_of(self, number: int) -> tuple[int, int] | None:
        """Return the run that holds a slice."""
        return next(((low, high) for low, high in self.runs if low <= number <= high), None)


def find_key_slices(search: Search, reader: DeepLesion) -> list[CaseFiles]:
    """One case a key slice, in natural order.

    The scan of a case is the unbroken run of slices around its key slice, within the table's
    Slice_range. Without the images it is that range. Slices of a series that are in no range of
    the table are a skipped case of it; files that look like slices or archives and are none fail.

    Raises
    ------
    SourceError
        There is no table, or several, or it is none.
    """
    raw, root = search.raw, search.raw.path
    tables, folders, refused = _look(raw, reader.table)
    search.selected.update(tables, refused)
    search.selected.update(folder.image for of in folders.values() for folder in of)
    if len(tables) != 1:
        names = ", ".join(readable(path.as_posix()) for path in sorted(tables))
        raise SourceError(
            f"--raw {root}: expected one {reader.table} below it, found {names or 'none'}; give "
            "the folder that holds the table and Images_png (or its zip archives)"
        )
    table = read_table(root / tables[0], root, reader.case, reader.coordinates)
    if not table:
        raise SourceError(f"--raw {root}: {tables[0].name} has no row below its header")
    found = []
    for rows in table:
        case = CaseFiles(
            rows.case_id,
            annotations=(tables[0],),
            measurements=rows.measurements,
            stack=rows.stack,
            problem=rows.problem,
            beside=tuple({folder.image for folder in folders.get(rows.series, [])}),
        )
        if rows.stack is not None:
            try:
                image, stack = _placed(
                    rows, rows.stack, folders.get(rows.series, []), list(refused)
                )
                if stack.run:
                    check_inside(image, root)
                case = replace(case, image=image, stack=stack)
            except CaseError as error:
                if search.need_images:
                    case = replace(case, problem=(error.reason, error.detail))
        found.append(case)
    found += _unmeasured(table, folders, tables[0].name)
    found += [
        CaseFiles(readable(path.as_posix()), beside=(path,), problem=problem)
        for path, problem in refused.items()
    ]
    return sorted(found, key=lambda case: natural_key(case.case_id))


def _unmeasured(
    table: list[KeySliceRows], folders: dict[str, list[Folder]], name: str
) -> Iterator[CaseFiles]:
    """Cases of the slices that are in no row's Slice_range, and of names that number none."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for rows in table:
        first = rows.stack.first_slice if rows.stack is not None else 0
        # Of a row that cannot be read, any slice may be meant.
        last = first + rows.stack.shape[2] - 1 if rows.stack is not None else LARGEST_NUMBER
        ranges.setdefault(rows.series, []).append((first, last))
    for series, its in folders.items():
        beside = tuple({folder.image for folder in its})
        runs = [run for folder in its for run in folder.runs]
        if left := _outside(runs, ranges.get(series, [])):
            detail = f"slices {_spans(left)} of {series} are in no Slice_range of {name}"
            problem = (Reason.NOT_ANNOTATED, detail)
            yield CaseFiles(series, image=its[0].image, beside=beside, problem=problem)
        if odd := [f"{one}.png" for folder in its for one in folder.odd]:
            detail = (
                f"{len(odd)} PNG files of {series} have names that do not number a slice as the "
                f"others do, such as {', '.join(odd[:3])}; get the series again"
            )
            problem = (Reason.NAME_NOT_RECOGNISED, detail)
            yield CaseFiles(f"{series} (names)", beside=beside, problem=problem)


def _outside(
    runs: Iterable[tuple[int, int]], ranges: Iterable[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Cut some ranges out of runs of numbers."""
    left = sorted(set(runs))
    for low, high in ranges:
        left = [
            part
            for first, last in left
            for part in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if part[0] <= part[1]
        ]
    return tuple(sorted(set(left)))


def _placed(
    rows: KeySliceRows, stack: StackSpec, folders: list[Folder], refused: list[Path]
) -> tuple[Path, StackSpec]:
    """Where the slices of a case lie, and which of them make its scan."""
    key = stack.key_slice
    if not folders:
        names = ", ".join(readable(path.name) for path in refused[:3])
        more = f" ({names} cannot be read as a zip archive)" if refused else ""
        raise CaseError(
            Reason.IMAGE_MISSING,
            f"no folder {rows.series} with PNG slices, unpacked or in a zip archive{more}, and no "
            f"volume {rows.series}_<first>-<last>.nii.gz; download the Images_png archive that "
            "holds it",
        )
    folder = next((folder for folder in folders if folder.run_of(key)), None)
    if folder is None:
        raise CaseError(
            Reason.KEY_SLICE_MISSING,
            f"{rows.series} has no slice {key}; it has {_spans(_with_others(folders[0], folders))};"
            " get it again",
        )
    run = folder.run_of(key)
    assert run is not None
    same = [it for it in folders if it.joined and it.runs == folder.runs]
    if len(same) > 1 and folder.joined:
        names = ", ".join(readable(it.image.as_posix()) for it in same[:3])
        raise CaseError(
            Reason.AMBIGUOUS_FILES,
            f"slices {run[0]} to {run[1]} of {rows.series} are in {len(same)} volumes: {names}; "
            "keep one",
        )
    runs = _with_others(folder, folders)
    low, high = stack.first_slice, stack.first_slice + stack.shape[2] - 1
    first, last = max(run[0], low), min(run[1], high)
    # A hole inside the range ends the scan; a range whose end is not there is half a download.
    lost = [
        f"{a} to {b}"
        for a, b in ((low, first - 1), (last + 1, high))
        if a <= b and not any(one <= b and a <= other for one, other in runs)
    ]
    if lost:
        raise CaseError(
            Reason.MISSING_SLICES,
            f"{rows.series}: the table's Slice_range is {low} to {high}, and slices "
            f"{' and '.join(lost)} are not there; download it again, or unpack all archives",
        )
    return folder.image, replace(
        stack,
        shape=(*stack.shape[:2], last + 1 - first),
        first_slice=first,
        digits=folder.digits,
        folder=folder.inside,
        prefix=folder.prefix,
        run=run if folder.joined else None,
        neighbours=len(runs) > 1,
    )


def _with_others(folder: Folder, folders: list[Folder]) -> tuple[tuple[int, int], ...]:
    """Return a folder's runs; a volume's, with those of the series' other volumes."""
    if not folder.joined:
        return folder.runs
    return tuple(sorted({run for it in folders if it.joined for run in it.runs}))


def _spans(runs: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{low} to {high}" for low, high in runs[:10])


def _look(
    raw: RawRoot, table: str
) -> tuple[list[Path], dict[str, list[Folder]], dict[Path, tuple[Reason, str]]]:
    """Tables, folders by series (unpacked ones, packed ones, volumes), archives that are none."""
    root = raw.path
    tables: list[Path] = []
    archives: list[Path] = []
    volumes: list[tuple[str, Folder]] = []
    loose: _Slices = {}
    for path in raw.walk():
        name = path.as_posix()
        if name.endswith(".png"):
            _sort_in(name, loose)
        elif path.name == table:
            tables.append(path)
        elif name.lower().endswith(".zip"):
            archives.append(path)
        elif match := _VOLUME.fullmatch(split_suffix(path.name)[0]):
            first, last = int(match["first"]), int(match["last"])
            if first <= last and path.name != match[0]:
                volume = Folder(path, "", "", 0, ((first, last),), joined=True)
                volumes.append((match["series"], volume))
    folders: dict[str, list[Folder]] = {}
    for folder, series, mark in sorted(loose, key=lambda key: natural_key("".join(key))):
        _add(folders, None, (folder, series, mark), loose[folder, series, mark])
    refused: dict[Path, tuple[Reason, str]] = {}
    for path in sorted(archives, key=lambda path: natural_key(path.as_posix())):
        packed: _Slices = {}
        try:
            check_inside(path, root)
            # A pipe would be waited for.
            if not (root / path).is_file():
                raise ValueError("no file")
            with zipfile.ZipFile(root / path) as archive:
                for name in archive.namelist():
                    _sort_in(name, packed)
        except CaseError as error:
            refused[path] = error.reason, error.detail
            continue
        except OSError as error:
            why = error.strerror or type(error).__name__
            refused[path] = Reason.IO_ERROR, f"{readable(path.as_posix())}: {why}"
            continue
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            name = readable(path.as_posix())
            refused[path] = Reason.UNREADABLE, f"{name}: no zip archive; download it again"
            continue
        for key, stems in packed.items():
            _add(folders, path, key, stems)
    for series, volume in sorted(volumes, key=lambda it: natural_key(it[1].image.as_posix())):
        folders.setdefault(series, []).append(volume)
    return tables, folders, refused


# By folder, series, and what stands between series and number: the ends of slices' names.
_Slices = dict[tuple[str, str, str], list[str]]


def _sort_in(name: str, into: _Slices) -> None:
    match = _SLICE.fullmatch(name)
    if match and not name.startswith("/") and ".." not in name.split("/"):
        key = match["folder"], match["series"], match["mark"]
        into.setdefault(key, []).append(match["stem"])


def _add(
    folders: dict[str, list[Folder]],
    archive: Path | None,
    key: tuple[str, str, str],
    stems: list[str],
) -> None:
    above, series, mark = key
    name = f"{above}{series}" if mark == "/" else above.rstrip("/")
    prefix = "" if mark == "/" else f"{series}_"
    # Names are made from numbers later; one that is not what its number gives is not a slice.
    digits = min(len(stem) for stem in stems)
    numbers = {int(stem): stem for stem in stems if stem == f"{int(stem):0{digits}d}"}
    image, inside = (Path(name or "."), "") if archive is None else (archive, name)
    odd = tuple(sorted(set(stems) - set(numbers.values()))) if len(numbers) < len(stems) else ()
    folder = Folder(image, inside, prefix, digits, _runs(numbers), odd=odd)
    folders.setdefault(series, []).append(folder)


def _runs(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return tuple((low, high) for low, high in runs)
