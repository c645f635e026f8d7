"""Passports of models that others trained: from a list of what they say trained them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uls_data.engine import Pool, run_tasks
from uls_data.errors import CaseError
from uls_data.io import sha256_file, sha256_voxels
from uls_data.manifest.archive import Names, read_voi
from uls_data.manifest.parquet import manifest_files
from uls_data.manifest.patients import patient_space
from uls_data.outcome import Status
from uls_data.passports.document import (
    HASHES,
    HELDOUT,
    TRAINED,
    File,
    Passport,
    PassportError,
    Stage,
    read_passport,
    schema,
    write_passport,
)
from uls_data.passports.stages import StageRows, ordered, stage_of

_MOST_BYTES = 1 << 28
_SUFFIXES = (".nii.gz", ".nii", ".nii.gz.zip", ".mha", ".nrrd")
_CHANNEL = "_0000"
_PARTS = {"training": TRAINED, "validation": HELDOUT}
_IMAGES = "imagesTr"
_WORDS = ("source", "case_id", "voi_id", "layer")
_COUNTS = ("lesion_index", "sample_index")
_MOST_COUNT = 1 << 31
# Role, image, and what a list says about it.
_Listed = tuple[str, Path, dict[str, Any]]


@dataclass(frozen=True)
class _Read:
    """What a file told: hashes, or why not."""

    sha256: str | None
    voxels: str | None
    problem: str | None = None


def passport_from(
    given: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    workers: int = 0,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Passport, list[tuple[str, str]]]:
    """Write the passport of a model that something else trained.

    Parameters
    ----------
    given : path
        Manifest, folder of manifests or OUT folder: its rows with a VOI. A dataset folder of
        nnU-Net (`imagesTr`) or a datalist of MONAI (`training`; `validation` is held out): their
        images are read for the hashes of files and voxels; names of published VOIs are known.
    out : path
        The passport to write.
    name : str, optional
        Of the training; default: the name of `given`.
    workers : int
        Local processes that read images; 0 is this one.
    started, progress : callable, optional
        Get the number of images, then the number just read.

    Returns
    -------
    Passport
    list of (str, str)
        Images that could not be read, and why: nothing but their names is known. The passport
        says so and is not complete.

    Raises
    ------
    PassportError, ManifestError
        None of these, or nothing in it; `out` cannot be written.
    """
    given, out = Path(given), Path(out)
    called = _text(name or given.name)[:4096]
    unread: list[tuple[str, str]] = []
    if given.suffix == ".json" or (given / _IMAGES).is_dir():
        stage, rows, unread = _of_images(given, called, workers, started, progress)
    else:
        files = manifest_files(given)
        stage, rows = stage_of(files, _with_voi, kind="given", name=called)
    if not len(rows):
        raise PassportError(f"{given}: names nothing that could have trained a model")
    try:
        write_passport([stage], rows.numbered(0), out)
    except OSError as error:
        raise PassportError(f"--out {out}: cannot be written: {error.strerror}") from error
    return read_passport(out), unread


def _with_voi(table: pa.Table) -> Sequence[str | None]:
    ok = pc.fill_null(pc.equal(table["status"], Status.OK.value), False)
    roles: Sequence[str | None] = pc.if_else(ok, TRAINED, None)
    return roles


def _of_images(
    given: Path,
    name: str,
    workers: int,
    started: Callable[[int], None] | None,
    progress: Callable[[int], None] | None,
) -> tuple[Stage, StageRows, list[tuple[str, str]]]:
    listed = _of_folder(given) if given.is_dir() else _of_datalist(given)
    images = sorted({path for _, path, _ in listed})
    if started is not None:
        started(len(images))
    found: dict[Path, _Read] = {}
    for path, read in run_tasks(
        _read, images, Pool(workers), lost=lambda _path, detail: _Read(None, None, detail)
    ):
        found[path] = read
        if progress is not None:
            progress(1)
    names = Names("auto")
    rows = [_row(names, role, path, found[path], said) for role, path, said in listed]
    unread = [(path.name, read.problem) for path, read in sorted(found.items()) if read.problem]
    table = ordered([pa.Table.from_pylist(rows, schema=schema())])
    counts: dict[Any, int] = {
        role: sum(row["role"] == role for row in rows) for role in (HELDOUT, TRAINED)
    }
    list_file = given / "dataset.json" if given.is_dir() else given
    files: tuple[File, ...] = ()
    if list_file.is_file():
        files = (File(name=_text(list_file.name)[:4096], sha256=sha256_file(list_file)),)
    stage = Stage(
        kind="given",
        name=name,
        files=files,
        rows={role: count for role, count in counts.items() if count},
        unread=len(unread),
    )
    return stage, table, unread


def _of_folder(folder: Path) -> list[_Listed]:
    """Images of a raw dataset of nnU-Net: one file a case, its first channel."""
    files = sorted(path for path in (folder / _IMAGES).iterdir() if path.name.endswith(_SUFFIXES))
    images = [path for path in files if _stem(path.name).endswith(_CHANNEL)]
    if not images:
        raise PassportError(f"{folder}: {_IMAGES} holds no image called ..._0000.nii.gz")
    return [(TRAINED, path, {}) for path in images]


def _of_datalist(path: Path) -> list[_Listed]:
    """Images of a datalist, by the keys of the Medical Segmentation Decathlon."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise PassportError(f"{path}: larger than {_MOST_BYTES} bytes: no datalist")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise PassportError(f"{path}: not a readable JSON file: {error}") from error
    if isinstance(content, list):
        content = {"training": content}
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        raise PassportError(f"{path}: no datalist: expected a list called `training`")
    listed = []
    for part, role in _PARTS.items():
        entries = content.get(part) or []
        if not isinstance(entries, list):
            raise PassportError(f"{path}: {part}: expected a list")
        for number, entry in enumerate(entries):
            image = entry.get("image") if isinstance(entry, dict) else entry
            if isinstance(image, list) and image:
                image = image[0]
            if not isinstance(image, str) or not image or "\0" in image:
                raise PassportError(f"{path}: {part}[{number}]: expected an image's path")
            said = entry if isinstance(entry, dict) else {}
            listed.append((role, path.parent / image, said))
    return listed


def _read(path: Path) -> _Read:
    sha256 = None
    try:
        if not path.is_file():
            return _Read(None, None, "no such file")
        sha256 = sha256_file(path)
        voxels = read_voi(path).ras
        if voxels.dtype.kind == "f":
            whole = np.rint(voxels)
            if not (whole == voxels).all():
                return _Read(sha256, None)  # changed beyond a hash's reach: the file's must do
            voxels = whole.astype(np.int32)
        return _Read(sha256, sha256_voxels(voxels))
    except CaseError as error:
        return _Read(sha256, None, error.detail)
    except (OSError, ValueError, OverflowError) as error:
        return _Read(sha256, None, str(error)[:300])


def _stem(name: str) -> str:
    end = next((suffix for suffix in sorted(_SUFFIXES, key=len)[::-1] if name.endswith(suffix)), "")
    return name.removesuffix(end)


def _text(name: str) -> str:
    """Name as every format can hold it: what is not UTF-8, of a file or in JSON, is spelt out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _row(names: Names, role: str, path: Path, read: _Read, said: dict[str, Any]) -> dict[str, Any]:
    """One image as a row: what its name tells, or our own list, and its hashes."""
    called = _text(_stem(path.name).removesuffix(_CHANNEL))
    row: dict[str, Any] = {"stage": 0, "role": role, "voi_id": called, "case_id": called}
    try:
        name = names.read(called)
        if name.recipe is not None:
            row |= {
                "source": name.recipe.source,
                "case_id": name.case_id,
                "lesion_index": name.lesion_index,
                "sample_index": name.sample_index,
                "patient_id": name.recipe.patient_of(name.case_id),
            }
    except CaseError:
        pass  # no published name: a file of somebody's own
    row |= _stated(said)
    # Whether it is a VOI or the scan that others are cut from, nobody says.
    file, voxels = (
        None if one is None else bytes.fromhex(one) for one in (read.sha256, read.voxels)
    )
    hashes = {"image_sha256": file, "image_source_sha256": file, "image_voxels_sha256": voxels}
    return {**dict.fromkeys(HASHES), **row, **hashes}


def _stated(said: dict[str, Any]) -> dict[str, Any]:
    """Take what an entry says about itself, as `export monai` writes it."""
    row: dict[str, Any] = {
        name: _text(said[name]) for name in _WORDS if isinstance(said.get(name), str) and said[name]
    }
    row |= {
        name: said[name]
        for name in _COUNTS
        if type(said.get(name)) is int and 0 <= said[name] < _MOST_COUNT
    }
    patient = said.get("patient")
    if "source" in row and isinstance(patient, str):
        space, _, person = patient.partition("/")
        if space == patient_space(row["source"]) and not person.startswith("case/"):
            row["patient_id"] = _text(person)
    return row
