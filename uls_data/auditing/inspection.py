"""Audit manifests: run the checks, flag what leaks, and write it down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uls_data.auditing.checks import Match, Prints, findings
from uls_data.auditing.fingerprint import mask_fingerprint, scan_sketch
from uls_data.auditing.overlaps import Untold, untold
from uls_data.engine import Pool, run_tasks
from uls_data.errors import CaseError, SourceError
from uls_data.manifest.archive import read_voi
from uls_data.manifest.choice import COLUMNS as CHOICE_COLUMNS
from uls_data.manifest.parquet import iterate_rows, manifest_files, read_table, write_manifest
from uls_data.manifest.paths import voi_file, with_moved_paths
from uls_data.manifest.row import Row
from uls_data.outcome import LEAKS, Flag

COLUMNS = (
    *CHOICE_COLUMNS,
    *("patient_id", "lesion_track_id", "voi_id", "split", "source_split", "image_path"),
    "series_instance_uid",
    *("label_path", "pad_value_hu", "image_voxels_sha256", "image_source_sha256", "mask_voxels"),
    *("spacing_x_mm", "spacing_y_mm", "spacing_z_mm"),
)
_Task = tuple[int, Path | None, Path | None, int | None]
_Read = tuple[Prints, str | None]


@dataclass(frozen=True)
class AuditReport:
    """What was found.

    Attributes
    ----------
    rows : list of dict
        Columns `COLUMNS` of all rows, in the order of the manifests.
    findings : list of Match
    flags : list of frozenset of Flag
        Of each row: `leak_same_scan`, `leak_heldout_patient`.
    unread : list of (int, str)
        Rows whose files could not be read for their fingerprints, and why.
    untold : list of Untold
        Sources with scans in common that were not looked for: only their voxels show which.
    """

    rows: list[Row]
    findings: list[Match]
    flags: list[frozenset[Flag]]
    unread: list[tuple[int, str]]
    untold: list[Untold] = field(default_factory=list)

    @property
    def training(self) -> list[int]:
        """Rows that leak and that their own split does not hold out."""
        return [
            number
            for number, flags in enumerate(self.flags)
            if flags and self.rows[number]["split"] != "heldout"
        ]


def audit(
    manifests: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    voxels: bool = False,
    workers: int = 1,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> AuditReport:
    """Find scans, lesions and patients under two names, and which of them leak.

    A group leaks where one of its rows is held out (by its split, or its patient by a shipped
    recipe) and another one is not, or goes by another source. All its rows are flagged, the
    held-out ones too: the flag says that they must not train.

    Parameters
    ----------
    manifests : path or sequence of paths
        Manifests, folders of them, or OUT folders.
    out : path, optional
        Manifest to write: all rows, with the flags of this audit instead of those of an earlier
        one. Paths in it stay valid.
    voxels : bool
        Read images and labels, and compare fingerprints that survive cropping, turning and
        padding. Without it, scans are compared by name, images and masks by their hashes.
    workers : int
        Local processes that read; 0 is this one.
    started, progress : callable, optional
        Get the number of rows whose files will be read, then the number just read.

    Raises
    ------
    ManifestError, SourceError
        Not manifests, or `out` cannot be written.
    """
    files = manifest_files(manifests)
    tables: list[list[Row]] = [read_table(file, COLUMNS).to_pylist() for file in files]
    rows = [row for table in tables for row in table]
    prints: dict[int, Prints] = {}
    unread: list[tuple[int, str]] = []
    if voxels:
        tasks = list(_tasks(files, tables))
        if started is not None:
            started(len(tasks))
        for (number, *_), (found, problem) in run_tasks(
            _read, tasks, Pool(workers), lost=lambda _task, detail: (Prints(), detail)
        ):
            prints[number] = found
            if problem is not None:
                unread.append((number, problem))
            if progress is not None:
                progress(1)
    found_all = findings(rows, dict(sorted(prints.items())))
    flags = flags_of(len(rows), found_all)
    if out is not None:
        _write(files, flags, Path(out))
    unlooked = [] if voxels else untold({row["source"] for row in rows})
    return AuditReport(rows, found_all, flags, sorted(unread), unlooked)


def flags_of(count: int, found: Iterable[Match]) -> list[frozenset[Flag]]:
    """Return the flags of `count` rows, from what leaks."""
    flags: list[set[Flag]] = [set() for _ in range(count)]
    for finding in found:
        if finding.leak:
            for number in finding.rows:
                flags[number].add(finding.flag)
    return [frozenset(some) for some in flags]


def with_flags(row: Row, flags: Iterable[Flag]) -> Row:
    """Row with these leaks instead of those of an earlier audit."""
    kept = set(row["qc_flags"] or ()) - LEAKS
    return {**row, "qc_flags": sorted(kept | set(flags))}


def _tasks(files: Sequence[Path], tables: Sequence[Sequence[Row]]) -> Iterator[_Task]:
    """Files to read: every label, and the image of a VOI once."""
    number = 0
    for file, table in zip(files, tables, strict=True):
        seen: set[str] = set()
        for row in table:
            image, label = (
                None if name is None else voi_file(file, name)
                for name in (row["image_path"], row["label_path"])
            )
            if image is not None and row["image_path"] in seen:
                image = None
            if row["status"] == "ok" and (image or label):
                seen.add(str(row["image_path"]))
                yield number, image, label, row["pad_value_hu"]
            number += 1


def _read(task: _Task) -> _Read:
    _, image, label, pad = task
    sketch: tuple[int, ...] = ()
    mask = None
    try:
        if image is not None:
            volume = read_voi(image)
            voxels = volume.ras
            if voxels.dtype.kind == "f":
                voxels = np.rint(voxels).astype(np.int32)
            sketch = tuple(scan_sketch(voxels, pad).tolist())
        if label is not None:
            mask = mask_fingerprint(read_voi(label).ras)
    except CaseError as error:
        return Prints(sketch, mask), error.detail
    except OSError as error:
        name = Path(error.filename or "").name
        return Prints(sketch, mask), f"{name}: {error.strerror or type(error).__name__}"
    return Prints(sketch, mask), None


def _write(files: Sequence[Path], flags: Sequence[frozenset[Flag]], out: Path) -> None:
    rows: list[Row] = []
    for file in files:
        for row in iterate_rows(file):
            rows.append(with_flags(with_moved_paths(row, file, out), flags[len(rows)]))
    try:
        write_manifest(rows, out)
    except OSError as error:
        raise SourceError(f"--out {out}: cannot be written: {error.strerror}") from error
