"""Find LNDb on disk: scans, each reader's mask, and the tables.

Layouts seen: scans in `data0` to `data5`, in `data`, or flat; masks in `masks`, in
`masks/masks`, or flat; tables in `trainset_csv` or flat. File names decide, not folders
(https://lndb.grand-challenge.org/Data).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.recipe.reader import Lndb
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.format import Search
from uls_data.sources.lndb import table as lndb_tables
from uls_data.sources.lndb.table import Finding, MergedFinding
from uls_data.tables import read_bytes
from uls_data.volumes.raw_root import RawRoot, check_inside
from uls_data.volumes.volume import suffix_of

# The two that lesions are made of; the others tell what to expect.
NEEDED_TABLES = ("trainNodules.csv", "trainNodules_gt.csv")
TABLES = ("trainCTs.csv", *NEEDED_TABLES, "trainFolds.csv", "trainFleischner.csv")
_VOLUME = re.compile(r"LNDb-([0-9]{4})(?:_rad([0-9]))?")
_WHERE = "get it from https://zenodo.org/records/8309612 (see lndb.grand-challenge.org)"


@dataclass(frozen=True)
class LndbArchive:
    """What of LNDb lies below a folder. All paths are relative to it.

    Attributes
    ----------
    cases : tuple of CaseFiles
        Training scans by number, called `LNDb_0001`; `instances` holds (1, reader, mask),
        `annotations` the two tables that lesions are made of.
    tables : dict of str to Path
        By file name.
    unlabelled : tuple of Path
        Scans without masks: the challenge's test scans, which are not cases.
    readers : dict of int to int
        Training scan to how many readers it had; empty without `trainCTs.csv`.
    selected : frozenset of Path
        Every file whose name is that of a scan, a mask or a table.
    """

    cases: tuple[CaseFiles, ...]
    tables: dict[str, Path]
    unlabelled: tuple[Path, ...]
    readers: dict[int, int]
    selected: frozenset[Path]


def find_lndb(raw: RawRoot, *, need_images: bool = True) -> LndbArchive:
    """Find the scans, masks and tables of LNDb below a folder.

    Parameters
    ----------
    raw : RawRoot
        Nothing outside it is read.
    need_images : bool
        Whether a mask without its scan is a problem of the case.

    Raises
    ------
    SourceError
        No mask, a needed table missing or given twice, or any of the tables unreadable.
    """
    root = raw.path
    scans = defaultdict[int, list[Path]](list)
    masks = defaultdict[int, dict[int, list[Path]]](lambda: defaultdict(list))
    tables = defaultdict[str, list[Path]](list)
    for path in sorted(raw.walk()):
        if path.name in TABLES:
            tables[path.name].append(path)
        suffix = suffix_of(path)
        match = _VOLUME.fullmatch(path.name[: -len(suffix)]) if suffix else None
        if match and match[2]:
            masks[int(match[1])][int(match[2])].append(path)
        elif match:
            scans[int(match[1])].append(path)
    if not masks:
        raise SourceError(
            f"--raw {root}: no mask of LNDb found. Expected files such as LNDb-0001_rad1.mhd, "
            f"found {len(scans)} scans; {_WHERE}"
        )
    chosen = {name: _only_table(root, paths) for name, paths in tables.items()}
    readers, named = _check_tables(root, chosen)
    annotations = tuple(chosen[name] for name in NEEDED_TABLES)
    every_table = [path for paths in tables.values() for path in paths]
    cases = []
    for number in sorted({*masks, *readers, *named}):
        case = _case(number, scans[number], masks[number], annotations)
        spare = [*scans[number][1:], *(path for paths in masks[number].values() for path in paths)]
        held = set(case.files())
        beside = tuple(path for path in (*spare, *every_table) if path not in held)
        case = replace(case, beside=beside)
        try:
            _check(case, number, scans[number], masks[number], readers, need_images)
            for path in case.files():
                check_inside(path, root)
        except CaseError as error:
            case = replace(case, problem=(error.reason, error.detail))
        cases.append(case)
    known = {lndb_id_of(case.case_id) for case in cases}
    unlabelled = [path for number, paths in scans.items() if number not in known for path in paths]
    selected = frozenset(
        [*every_table, *(path for paths in scans.values() for path in paths)]
        + [path for of in masks.values() for paths in of.values() for path in paths]
    )
    return LndbArchive(tuple(cases), chosen, tuple(sorted(unlabelled)), readers, selected)


def find_scans(search: Search, _reader: Lndb) -> list[CaseFiles]:
    """Find the training scans of LNDb, by number, and those that nobody read; see `find_lndb`."""
    found = find_lndb(search.raw, need_images=search.need_images)
    search.selected.update(found.selected)
    scans: dict[int, list[Path]] = {}
    for path in found.unlabelled:
        scans.setdefault(lndb_id_of(path.name), []).append(path)
    unread = (
        Reason.NOT_ANNOTATED,
        "a scan without masks and table rows, such as the challenge's test scans",
    )
    return [
        *found.cases,
        *(
            CaseFiles(_name_of(number), paths[0], beside=tuple(paths[1:]), problem=unread)
            for number, paths in scans.items()
        ),
    ]


def lndb_id_of(name: str) -> int:
    """LNDbID in the name of a case (`LNDb_0001`) or a file (`LNDb-0001_rad1.mhd`)."""
    match = re.match(r"LNDb[-_]([0-9]{4})", name)
    if match is None:
        raise CaseError(
            Reason.NAME_NOT_RECOGNISED, f"expected LNDb-0001 or the like, found {readable(name)}"
        )
    return int(match[1])


def read_findings_of(case: CaseFiles, root: Path) -> tuple[list[Finding], list[MergedFinding]]:
    """Read what the tables say of one case.

    Raises
    ------
    CaseError
        As `lndb_tables.read_findings`, `read_merged` and `findings_of`.
    """
    paths = {path.name: root / path for path in case.annotations}
    findings = lndb_tables.read_findings(paths["trainNodules.csv"], root)
    merged = lndb_tables.read_merged(paths["trainNodules_gt.csv"], root)
    return lndb_tables.findings_of(lndb_id_of(case.case_id), findings, merged)


def _only_table(root: Path, paths: Sequence[Path]) -> Path:
    """Return the one table of a name; copies of one file count as one."""
    for path in paths:
        try:
            check_inside(path, root)
        except CaseError as error:
            raise SourceError(f"--raw {root}: {error.detail}") from error
    if len(paths) > 1:
        try:
            texts = {read_bytes(root / path, root) for path in paths}
        except CaseError as error:
            raise SourceError(f"--raw {root}: {error.detail}") from error
        if len(texts) > 1:
            names = readable(", ".join(path.as_posix() for path in paths[:3]))
            raise SourceError(f"--raw {root}: {len(paths)} tables of one name that differ: {names}")
    return paths[0]


def _check_tables(root: Path, tables: dict[str, Path]) -> tuple[dict[int, int], set[int]]:
    """Read every table once, so that a bad one stops the run before any work.

    Returns readers by scan, and the scans that have findings.
    """
    missing = [name for name in NEEDED_TABLES if name not in tables]
    if missing:
        raise SourceError(
            f"--raw {root}: the table {missing[0]} is missing (trainset_csv); without it no mask "
            f"value means anything; {_WHERE}"
        )
    read: dict[str, Callable[[Path, Path], object]] = {
        "trainFolds.csv": lndb_tables.read_folds,
        "trainFleischner.csv": lndb_tables.read_fleischner,
    }
    try:
        findings = lndb_tables.read_findings(root / tables["trainNodules.csv"], root)
        merged = lndb_tables.read_merged(root / tables["trainNodules_gt.csv"], root)
        for name in sorted(tables.keys() & read.keys()):
            read[name](root / tables[name], root)
        scans = tables.get("trainCTs.csv")
        readers = lndb_tables.read_scans(root / scans, root) if scans is not None else {}
    except CaseError as error:
        raise SourceError(f"--raw {root}: {error.detail}") from error
    named = {one.lndb_id for one in findings} | {one.lndb_id for one in merged}
    return readers, named


def _case(
    number: int, scans: list[Path], masks: dict[int, list[Path]], annotations: tuple[Path, ...]
) -> CaseFiles:
    instances = tuple((1, reader, paths[0]) for reader, paths in sorted(masks.items()))
    image = scans[0] if scans else None
    return CaseFiles(_name_of(number), image, instances=instances, annotations=annotations)


def _name_of(number: int) -> str:
    return f"LNDb_{number:04d}"


def _check(
    case: CaseFiles,
    number: int,
    scans: list[Path],
    masks: dict[int, list[Path]],
    readers: dict[int, int],
    need_images: bool,
) -> None:
    """Refuse a case whose files are not one scan with one mask of each of its readers."""
    several = [paths for paths in masks.values() if len(paths) > 1]
    if need_images and len(scans) > 1:
        several.insert(0, scans)
    if several:
        names = ", ".join(path.as_posix() for path in several[0][:3])
        raise CaseError(
            Reason.AMBIGUOUS_FILES,
            f"expected one file, found {len(several[0])}: {names}; give --raw a folder that holds "
            "LNDb once",
        )
    if not masks and number not in readers:
        raise CaseError(
            Reason.MASK_MISSING,
            f"the tables have findings of it, and there is no mask LNDb-{number:04d}_rad1.mhd",
        )
    if readers and number not in readers:
        raise CaseError(
            Reason.NOT_TRAINING_TRUTH,
            "it has masks, but trainCTs.csv does not list it as a training scan",
        )
    expected = set(range(1, readers[number] + 1)) if readers else set(masks)
    if set(masks) != expected:
        missing = [f"LNDb-{number:04d}_rad{n}.mhd" for n in sorted(expected - set(masks))]
        more = [paths[0].as_posix() for n, paths in sorted(masks.items()) if n not in expected]
        what = f"missing {', '.join(missing)}" if missing else f"found {', '.join(more)} too"
        raise CaseError(
            Reason.MASK_MISSING if missing else Reason.AMBIGUOUS_FILES,
            f"expected a mask of each reader, {len(expected)} by trainCTs.csv; {what}",
        )
    if need_images and not scans:
        raise CaseError(
            Reason.IMAGE_MISSING,
            f"there are masks ({case.instances[0][2]}) but no LNDb-{number:04d}.mhd",
        )
