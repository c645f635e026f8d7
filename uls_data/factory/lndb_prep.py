"""Prepare LNDb for one user: check the download, build it, compare with what was released.

The licence of LNDb forbids passing on anything cut from it, so everybody makes the VOIs
alone. What can be passed on are the numbers that show two people made the same: a digest
of hashes, without voxels or paths.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from uls_data.errors import CaseError, SourceError
from uls_data.factory.build_report import BuildReport
from uls_data.factory.layers import ANNOTATED
from uls_data.factory.run import Progress, build
from uls_data.ids import hash_of
from uls_data.io import write_bytes
from uls_data.manifest.parquet import iterate_rows
from uls_data.manifest.stats import stats
from uls_data.outcome import Reason, Status
from uls_data.resources import shipped
from uls_data.sources.lndb.find import TABLES, find_lndb
from uls_data.volumes.header_text import Encoding
from uls_data.volumes.metaheader import read_header
from uls_data.volumes.raw_root import RawRoot
from uls_data.volumes.volume import check_file

SOURCE = "lndb"
# The whole of LNDb v4: 236 training scans with masks, 58 test scans without.
WHOLE_SCANS, WHOLE_TRAINING, WHOLE_MASKS = 294, 236, 480
_PACKED = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz")
_MOST_PACKED = 20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+\.(?:z?raw)")


@dataclass(frozen=True)
class Download:
    """What of LNDb lies below a folder; names are relative to it.

    Attributes
    ----------
    scans, masks : int
        Volumes found, of WHOLE_SCANS and WHOLE_MASKS.
    tables : tuple of str
        Tables found, of `uls_data.sources.lndb.find.TABLES`.
    complete : int
        Training scans that have their scan and every reader's mask.
    problems : tuple of (case, str)
        Training scans that cannot be built, and why.
    cut_short : tuple of (name, str)
        Volumes whose voxel file is missing or shorter than its header says.
    packed : tuple of str
        Archives that may still have to be unpacked.
    """

    scans: int
    masks: int
    tables: tuple[str, ...]
    complete: int
    problems: tuple[tuple[str, str], ...]
    cut_short: tuple[tuple[str, str], ...]
    packed: tuple[str, ...]

    @property
    def missing_tables(self) -> tuple[str, ...]:
        """Tables of LNDb that are not there."""
        return tuple(name for name in TABLES if name not in self.tables)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        parts = (self.scans, self.masks, len(self.tables))
        whole = parts == (WHOLE_SCANS, WHOLE_MASKS, len(TABLES))
        return whole and not self.problems and not self.cut_short


@dataclass(frozen=True)
class NameCheck:
    """Lesions built here against the released names.

    Attributes
    ----------
    scans, lesions : int
        That were released.
    scans_equal : int
        Scans with the same lesion numbers.
    scans_absent : tuple of str
        Released scans of which nothing was built here.
    same : int
        Lesions with a released name.
    missing, extra : tuple of str
        Names released and not built, and the other way round, without absent scans.
    """

    scans: int
    lesions: int
    scans_equal: int
    scans_absent: tuple[str, ...]
    same: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """What `prepare_lndb` found and did.

    Attributes
    ----------
    download : Download
    report : BuildReport or None
        None after a dry run, as is what follows.
    names : NameCheck or None
    table1 : dict of str to float
        series, lesions, long_mean, long_std, short_mean, short_std (pixels).
    root_hash : str or None
        Last line of the digest.
    """

    download: Download
    report: BuildReport | None = None
    names: NameCheck | None = None
    table1: dict[str, float] = field(default_factory=dict)
    root_hash: str | None = None


def prepare_lndb(
    raw: str | Path,
    out: str | Path,
    *,
    workers: int = 0,
    digest: Path | None = None,
    dry_run: bool = False,
    found: Callable[[Download], None] | None = None,
    started: Callable[[int, int], None] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Check a download of LNDb, build it, and compare the result with what was released.

    Parameters
    ----------
    raw, out : path
        Folder of the download (only read), and folder to write.
    workers : int
        Local processes, as for `build`.
    digest : Path, optional
        File to write a digest to that others can compare with theirs.
    dry_run : bool
        Check the download only; nothing is written.
    found : callable, optional
        Called with what the download holds, before the build.
    started, progress : callable, optional
        As for `build`.

    Raises
    ------
    RecipeError, SourceError, ManifestError
        As `build`; SourceError also for a download without masks or tables.
    """
    raw, out = Path(raw), Path(out)
    download = check_download(raw, out)
    if found is not None:
        found(download)
    if dry_run:
        return Prepared(download)
    report = build(SOURCE, raw, out, workers=workers, started=started, progress=progress)
    lines = digest_lines(report.manifest)
    if digest is not None:
        try:
            write_bytes(digest, digest_text(lines).encode())
        except OSError as error:
            raise SourceError(f"{digest}: cannot be written: {error.strerror}") from error
    return Prepared(
        download,
        report,
        check_names(report.manifest, expected_names()),
        _table1(report.manifest),
        hash_of(lines),
    )


def check_download(raw: Path, out: Path | None = None) -> Download:
    """Look at what of LNDb lies below a folder, without reading a voxel.

    Raises
    ------
    SourceError
        The folder cannot be read, or holds no mask, or not the tables that give masks
        their meaning.
    """
    if not raw.is_dir():
        raise SourceError(f"--raw {raw}: no such folder; it must hold the download of LNDb")
    root = RawRoot(raw, out)
    packed = tuple(_packed(root)[:_MOST_PACKED])
    try:
        archive = find_lndb(root)
    except SourceError as error:
        hint = f"; unpack {packed[0]} and what is beside it" if packed else ""
        raise SourceError(f"{error}{hint}") from error
    images = [case.image for case in archive.cases if case.image is not None]
    masks = [path for case in archive.cases for *_, path in case.instances]
    cut_short = []
    for path in sorted([*images, *masks]):
        if (why := _cut_short(raw, path)) is not None:
            cut_short.append((path.as_posix(), why))
    return Download(
        scans=len(images) + len(archive.unlabelled),
        masks=len(masks),
        tables=tuple(name for name in TABLES if name in archive.tables),
        complete=sum(case.problem is None for case in archive.cases),
        problems=tuple(
            (case.case_id, case.problem[1]) for case in archive.cases if case.problem is not None
        ),
        cut_short=tuple(cut_short),
        packed=packed,
    )


def expected_names() -> dict[str, tuple[int, ...]]:
    """Released lesion numbers of every scan, from `recipes/lndb/expected.tsv`."""
    lines = shipped("recipes", SOURCE, "expected.tsv").read_text(encoding="ascii").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {scan: tuple(map(int, numbers.split())) for scan, numbers in rows[1:]}


def check_names(manifest: Path, expected: dict[str, tuple[int, ...]]) -> NameCheck:
    """Compare the lesions of a manifest with released names, scan by scan."""
    built = defaultdict[str, set[int]](set)
    tried = set[str]()
    columns = ["case_id", "lesion_index", "layer", "status", "reason"]
    for row in iterate_rows(manifest, columns):
        if row["status"] != Status.FAILED and row["reason"] != Reason.NOT_ANNOTATED:
            tried.add(row["case_id"])
        number = row["lesion_index"]
        if row["status"] == Status.OK and row["layer"] == ANNOTATED and number is not None:
            built[row["case_id"]].add(number)
    ours = {(scan, number) for scan, numbers in built.items() for number in numbers}
    released = {(scan, number) for scan, numbers in expected.items() for number in numbers}
    here = {(scan, number) for scan, number in released if scan in tried}
    return NameCheck(
        scans=len(expected),
        lesions=len(released),
        scans_equal=sum(built[scan] == set(expected[scan]) for scan in expected.keys() & tried),
        scans_absent=tuple(sorted(expected.keys() - tried)),
        same=len(ours & released),
        missing=_names(here - ours),
        extra=_names(ours - released),
    )


def digest_lines(manifest: Path) -> list[str]:
    """One line a VOI, sorted: its name and the hash of its label's voxels."""
    columns = ["voi_id", "label_voxels_sha256", "layer", "status"]
    return sorted(
        f"{row['voi_id']} {row['label_voxels_sha256']}"
        for row in iterate_rows(manifest, columns)
        if row["status"] == Status.OK and row["layer"] == ANNOTATED
    )


def digest_text(lines: list[str]) -> str:
    """Text of a digest: what it is, its lines, and one hash over them all."""
    head = "# uls-data lndb-prep: name of each VOI and SHA-256 of the voxels of its label"
    return "".join(f"{line}\n" for line in [head, *lines, f"root {hash_of(lines)}"])


def _names(lesions: set[tuple[str, int]]) -> tuple[str, ...]:
    return tuple(f"{scan}_lesion_{number:02d}" for scan, number in sorted(lesions))


def _table1(manifest: Path) -> dict[str, float]:
    columns = ("series", "lesions", "long_mean", "long_std", "short_mean", "short_std")
    for row in stats(manifest, ["layer"]).to_dict("records"):
        if row["layer"] == ANNOTATED:
            return {column: float(row[column]) for column in columns}
    return dict.fromkeys(columns, 0.0)


def _packed(raw: RawRoot) -> list[str]:
    return sorted(
        path.as_posix()
        for path in raw.walk()
        if path.suffix.lower() in _PACKED and not path.name.lower().endswith(".nii.gz")
    )


def _cut_short(raw: Path, path: Path) -> str | None:
    """Why a volume with a voxel file of its own cannot be whole, from sizes alone."""
    try:
        check_file(raw / path)
        if path.suffix.lower() != ".mhd":
            return None
        header = read_header(raw / path)
        named = header.place.file or ""
        if header.encoding is not Encoding.RAW or not _PLAIN_NAME.fullmatch(named):
            return None  # the reader judges those
        voxels = raw / path.parent / named
        if not voxels.is_file():
            return f"its voxel file {named} is missing"
        expected, size = header.voxel_bytes, voxels.stat().st_size
    except CaseError as error:
        return error.detail
    except OSError as error:
        return error.strerror or type(error).__name__
    return None if size >= expected else f"{named} has {size:,} bytes of {expected:,}"
