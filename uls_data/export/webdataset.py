"""Shards of WebDataset: tar files that a training reads from front to back, or by index.

    TO/train-000000.tar, ...       KEY.image.npy.gz, KEY.label.npy.gz, KEY.json of each VOI
    TO/heldout-000000.tar, ...     held-out patients
    TO/train-000000.json, ...      its samples, size and SHA-256, and where each member starts

KEY is the `voi_id`, `.` replaced by `-`, since a key ends at its first point.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError, SourceError
from uls_data.export.common import failure, refuse_others
from uls_data.export.dataset import FOLDS, Dataset, DatasetExport, choose
from uls_data.export.sample import affine_of, described, inputs_of
from uls_data.ids import draw, hash_of
from uls_data.io import atomic_write, gzip, sha256_file, write_bytes, writing_to
from uls_data.manifest.example import Example
from uls_data.manifest.opened import voxels_of

SHARD_SIZE = 100
_FORMAT = "uls-data webdataset 1"


def export_webdataset(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    layers: Collection[str] = (),
    certified: bool = False,
    weak: bool = False,
    folds: int = FOLDS,
    shard_size: int = SHARD_SIZE,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> DatasetExport:
    """Write VOIs as shards of WebDataset.

    VOIs are shuffled by a draw from their names, and dealt so that shards of a part differ by at
    most one. Each shard appears whole; the same call again writes only those that are missing or
    would hold something else. Same VOIs, same bytes.

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds with images.
    to : path
        Folder of the shards, which holds no others.
    layers : collection of str
        Of the masks; default: the best of each VOI, as for training.
    certified : bool
        Of pseudo-masks take only those that a certificate keeps (`certify --manifest-out`).
    weak : bool
        Whether masks of one slice are taken; only their `key_slice_voi` is known.
    folds : int
        Folds of the training part; a patient's VOIs share one.
    shard_size : int
        VOIs of a shard, at most.

    Raises
    ------
    ManifestError, SourceError
        Nothing to train on, a fold without a patient, shards of another export in the folder, or
        it cannot be written.
    """
    if shard_size < 1:
        raise SourceError(f"--shard-size {shard_size}: expected 1 or more")
    dataset = choose(manifest, layers=layers, certified=certified, weak=weak, folds=folds)
    to = Path(to)
    if started is not None:
        started(len(dataset.train) + len(dataset.heldout))
    shards = dict(_shards(dataset, shard_size))
    keys = [_key(example) for examples in shards.values() for example in examples]
    if len(set(keys)) < len(keys):
        raise ManifestError("two VOIs have names that differ in `.` and `-` alone; export apart")
    failed: list[dict[str, Any]] = []
    with writing_to(to):
        refuse_others(to, "*.tar", shards)
        counts = {"train": 0, "heldout": 0}
        for name, examples in shards.items():
            inputs = _inputs(dataset, examples)
            record = _written(to / name, inputs)
            if record is None:
                bad = _write_shard(to / name, dataset, examples)
                failed += bad
                record = _record(to / name, inputs, len(examples) - len(bad), len(bad))
                write_bytes(_beside(to / name), (json.dumps(record) + "\n").encode())
            counts[name.split("-")[0]] += record["samples"]
            if progress is not None:
                progress(len(examples))
    return DatasetExport(to, counts["train"], counts["heldout"], failed, dataset.left_out)


def _shards(dataset: Dataset, size: int) -> Iterator[tuple[str, list[Example]]]:
    for part, examples in (("train", dataset.train), ("heldout", dataset.heldout)):
        order = sorted(examples, key=lambda e: (draw(1 << 64, "shard", *e.identity), e.identity))
        count = -(-len(order) // size)
        for at in range(count):
            start, end = (len(order) * edge // count for edge in (at, at + 1))
            yield f"{part}-{at:06d}.tar", order[start:end]


def _beside(shard: Path) -> Path:
    return shard.with_suffix(".json")


def _inputs(dataset: Dataset, examples: Sequence[Example]) -> str:
    """Hash of all that a shard's bytes depend on."""
    parts = (json.dumps([described(dataset, e), inputs_of(e)], sort_keys=True) for e in examples)
    return hash_of([_FORMAT, *parts])


def _written(path: Path, inputs: str) -> dict[str, Any] | None:
    """Record of a shard that is there, whole, and holds what it should; None where it is not."""
    try:
        record: dict[str, Any] = json.loads(_beside(path).read_bytes())
        whole = path.stat().st_size == record["bytes"] and record["failed"] == 0
        return record if whole and record["inputs_sha256"] == inputs else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _record(path: Path, inputs: str, samples: int, failed: int) -> dict[str, Any]:
    with tarfile.open(path, "r:") as tar:
        members = {member.name: [member.offset_data, member.size] for member in tar}
    return {
        "samples": samples,
        "failed": failed,
        "bytes": path.stat().st_size,
        "sha256": sha256_file(path),
        "inputs_sha256": inputs,
        "members": members,
    }


def _write_shard(path: Path, dataset: Dataset, examples: Sequence[Example]) -> list[dict[str, Any]]:
    failed = []
    with atomic_write(path) as temporary, tarfile.open(temporary, "w") as tar:
        for example in examples:
            try:
                image = voxels_of(example, "image_path")
                label = (voxels_of(example, "label_path") != 0).astype(np.uint8)
            except CaseError as error:
                failed.append(failure(example, error))
                continue
            key = _key(example)
            _add(tar, f"{key}.image.npy.gz", gzip(_npy(image)))
            _add(tar, f"{key}.label.npy.gz", gzip(_npy(label)))
            told = {**described(dataset, example), "affine": affine_of(example).tolist()}
            _add(tar, f"{key}.json", json.dumps(told).encode())
    return failed


def _key(example: Example) -> str:
    return str(example.row["voi_id"]).replace(".", "-")


def _npy(voxels: NDArray[Any]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, voxels, allow_pickle=False)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes | bytearray) -> None:
    # Of a new member, time, owner and group are zero.
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, BytesIO(data))
