"""A store for training: VOIs as views into one chunked, compressed array per scan.

    TO/manifest/SOURCE.parquet           the rows, whose paths and file hashes are those below
    TO/SOURCE/scans/VOI.b2nd             what the VOIs of a scan hold of it
    TO/SOURCE/masks/LAYER/VOI.b2nd       mask of a lesion: the box about it
    TO/store.jsonl, TO/SHA256SUMS        files of each scan; hashes of all files

A file is named after the first of its VOIs.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from uls_data.engine import Pool, run_tasks
from uls_data.errors import ManifestError, SourceError
from uls_data.export.common import check_name
from uls_data.export.sample import inputs_of
from uls_data.export.scan_arrays import (
    Place,
    ScanTask,
    Stored,
    image_file,
    lost,
    mask_file,
    need_bytes,
    store_scan,
)
from uls_data.ids import LAYER_NAME, hash_of
from uls_data.io import TEMPORARY_PREFIX, remove_temporaries, sha256_file, write_bytes, writing_to
from uls_data.io.journal import Journal
from uls_data.io.lock import LOCK, locked
from uls_data.manifest.by_axis import origin_of, padding_by_axis
from uls_data.manifest.choice import voi_of
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.parquet import row_key, write_manifest
from uls_data.manifest.row import Row
from uls_data.outcome import Status
from uls_data.volumes.b2nd import check_blosc2

RECORD, SUMS = "store.jsonl", "SHA256SUMS"
_FORMAT = "uls-data store 2"


@dataclass(frozen=True)
class StoreExport:
    """What was written.

    Attributes
    ----------
    path : Path
    vois, masks : int
        VOIs with an image, and rows with a mask.
    scans : int
        Arrays that hold images.
    size_bytes : int
        Of all arrays.
    failed : list of dict
        Rows that could not be read: `voi_id`, `reason`, `detail`.
    """

    path: Path
    vois: int
    masks: int
    scans: int
    size_bytes: int
    failed: list[dict[str, Any]] = field(default_factory=list)


def export_store(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    workers: int = 0,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> StoreExport:
    """Write VOIs and all their masks as a store that a training reads in parts.

    The store is a folder with manifests: `VoiDataset`, `open_voi`, `train` and `predict` take it
    in place of the build and get the same voxels. All that VOIs hold of a scan is one array, so
    further clicks add next to nothing. VOIs that do not agree where they overlap, and those whose
    place in the scan is not known, have arrays of their own. All rows are kept; one whose files
    cannot be read is a failed row with the reason.

    The same call again continues an interrupted one, and writes only scans that are missing or
    have changed. Same VOIs, same bytes, whatever the number of workers.

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds, and of masks beside them (`predict`).
    to : path
        Folder of the store, which holds nothing else.
    workers : int
        Processes; 0: this one.
    started, progress : callable, optional
        Called with the number of scans, and after each.

    Raises
    ------
    ManifestError
        No VOI, two rows with one key, or a name that no file can have.
    SourceError
        blosc2 is not installed, the folder holds other files, or cannot be written.
    """
    check_blosc2()
    to = Path(to)
    examples = list(with_images(list(read_examples(manifest))))
    tasks = _tasks(examples, to)
    if started is not None:
        started(len(tasks))
    with writing_to(to), locked(to / LOCK, f"--to {to}"):
        _refuse_others(to, tasks)
        journal = Journal(to / RECORD)
        inputs = {task.name: _inputs(task) for task in tasks}
        stored = _kept(to, journal, tasks, inputs)
        if progress is not None:
            progress(len(stored))
        missing = [task for task in tasks if task.name not in stored]
        for task, made in run_tasks(
            store_scan, missing, Pool(workers), lost=lost, need_bytes=need_bytes
        ):
            stored[task.name] = made
            journal.add(_line(task.name, inputs[task.name], made))
            if progress is not None:
                progress(1)
        return _finish(to, journal, examples, tasks, inputs, stored)


def _tasks(examples: Sequence[Example], to: Path) -> list[ScanTask]:
    """Rows with voxels, scan by scan; and the names checked that files will have."""
    twice = [key for key, n in Counter(row_key(e.row) for e in examples).items() if n > 1]
    if twice:
        raise ManifestError(f"two rows have the key {twice[0]}; export the manifests apart")
    scans: dict[tuple[Any, ...], list[Example]] = defaultdict(list)
    vois: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for example in sorted(examples, key=lambda e: row_key(e.row)):
        row = example.row
        check_name(str(row["source"]), "source")
        if row["status"] != Status.OK or (row["image_path"] is None and row["label_path"] is None):
            continue
        check_name(str(row["voi_id"]), "VOI")
        if row["label_path"] is not None and not LAYER_NAME.fullmatch(str(row["layer"])):
            raise ManifestError(f"{row['voi_id']}: {row['layer']!r} is not a valid layer name")
        voi = voi_of(row)
        if vois.setdefault((row["source"], row["voi_id"]), voi) != voi:
            raise ManifestError(f"two VOIs of {row['source']} are called {row['voi_id']}")
        scan = row["source"], row["case_id"], row["image_source"], row["image_source_sha256"]
        scans[scan].append(example)
    if not scans:
        raise ManifestError("no row with an image or a mask: nothing to store")
    named = [(_name(rows[0].row), rows) for rows in scans.values()]
    return [ScanTask(name, to, rows) for name, rows in sorted(named, key=lambda item: item[0])]


def _name(row: Row) -> str:
    return f"{row['source']}/{row['voi_id']}"


def _files(tasks: Sequence[ScanTask]) -> set[str]:
    """Every array that a store of these rows may hold."""
    rows = [example.row for task in tasks for example in task.examples]
    images = {image_file(row) for row in rows if row["image_path"] is not None}
    return images | {mask_file(row) for row in rows if row["label_path"] is not None}


def _refuse_others(to: Path, tasks: Sequence[ScanTask]) -> None:
    known = _files(tasks) | {RECORD, SUMS, LOCK}
    known |= {f"manifest/{task.examples[0].row['source']}.parquet" for task in tasks}
    for path in sorted(to.rglob("*")):
        if path.name.startswith(TEMPORARY_PREFIX):
            remove_temporaries(path.parent)
        elif not path.is_dir() and path.relative_to(to).as_posix() not in known:
            raise SourceError(f"{path} does not belong to this export; name another folder")


def _inputs(task: ScanTask) -> str:
    """Hash of all that the bytes of a scan's files depend on."""
    rows = []
    for example in task.examples:
        row = example.row
        absent = row["image_path"] is None, row["label_path"] is None
        place = origin_of(row), padding_by_axis(row), row["pad_value_hu"]
        rows.append([*row_key(row), row["voi_id"], *place, *absent, *inputs_of(example)])
    return hash_of([_FORMAT, *(json.dumps(row) for row in rows)])


def _line(name: str, inputs: str, made: Stored) -> dict[str, Any]:
    places = [list(astuple(place)) for place in made.places]
    return {"scan": name, "inputs": inputs, "files": made.files, "places": places}


def _kept(
    to: Path, journal: Journal, tasks: Sequence[ScanTask], inputs: dict[str, str]
) -> dict[str, Stored]:
    """Return the scans that are there, whole, and hold what they should."""
    by_name = {task.name: task for task in tasks}
    kept = {}
    for _, line in journal.lines():
        try:
            name, files = line["scan"], {k: (str(s), int(n)) for k, (s, n) in line["files"].items()}
            made = Stored(files, [Place(*place) for place in line["places"]])
            if line["inputs"] == inputs[name] and not made.failed and _fits(by_name[name], made):
                kept[name] = made
            else:
                kept.pop(name, None)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
    return {
        name: made
        for name, made in kept.items()
        if all(_size(to / file) == size for file, (_, size) in made.files.items())
    }


def _fits(task: ScanTask, made: Stored) -> bool:
    named = {name for place in made.places for name in (place.image, place.label) if name}
    return (
        len(made.places) == len(task.examples)
        and named == made.files.keys()
        and named <= _files([task])
    )


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _finish(
    to: Path,
    journal: Journal,
    examples: Sequence[Example],
    tasks: Sequence[ScanTask],
    inputs: dict[str, str],
    stored: dict[str, Stored],
) -> StoreExport:
    """Write manifests, record and hashes, and remove arrays that nothing names any more."""
    places = {
        row_key(example.row): (place, stored[task.name])
        for task in tasks
        for example, place in zip(task.examples, stored[task.name].places, strict=True)
    }
    by_source: dict[str, list[Row]] = defaultdict(list)
    failed = []
    for example in examples:
        row = _row(example.row, *places.get(row_key(example.row), (Place(), Stored())))
        by_source[row["source"]].append(row)
        if row["status"] != example.row["status"]:
            told = {"voi_id": row["voi_id"], "reason": row["reason"], "detail": row["detail"]}
            failed.append(told)
    sums = {name: sha for made in stored.values() for name, (sha, _) in made.files.items()}
    for name in _files(tasks) - sums.keys():
        (to / name).unlink(missing_ok=True)
    for source, rows in by_source.items():
        write_manifest(rows, to / "manifest" / f"{source}.parquet")
    journal.rewrite(_line(t.name, inputs[t.name], stored[t.name]) for t in tasks)
    for name in (RECORD, *(f"manifest/{source}.parquet" for source in by_source)):
        sums[name] = sha256_file(to / name)
    lines = (f"{sha}  {name}\n" for name, sha in sorted(sums.items()))
    write_bytes(to / SUMS, "".join(lines).encode())
    kept = [(e.row, places[row_key(e.row)][0]) for e in examples if row_key(e.row) in places]
    return StoreExport(
        to,
        vois=len({voi_of(row) for row, place in kept if place.image}),
        masks=sum(place.label is not None for _, place in kept),
        scans=len({place.image for _, place in kept if place.image}),
        size_bytes=sum(size for made in stored.values() for _, size in made.files.values()),
        failed=failed,
    )


def _row(row: Row, place: Place, made: Stored) -> Row:
    """Row of the store's manifest."""
    image, label = (made.files[name][0] if name else None for name in (place.image, place.label))
    paths: Row = {
        "image_path": place.image,
        "label_path": place.label,
        "image_sha256": image,
        "label_sha256": label,
    }
    if place.reason is None:
        return {**row, **paths}
    failed: Row = {"status": Status.FAILED, "reason": place.reason, "detail": place.detail}
    return {**row, **paths, **failed}
