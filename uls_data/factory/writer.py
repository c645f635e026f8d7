"""Encode and write VOI files in threads of their own, while the next VOI is cut.

Encoding is most of a build's time and holds no interpreter lock. A worker never
gives a file its name: only the run that holds the lock does, so a worker that
outlived its run, or that a cluster thought dead, cannot spoil what is finished.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import SourceError
from uls_data.geometry import Affine
from uls_data.io import sha256_bytes, sha256_voxels
from uls_data.manifest.row import Row
from uls_data.nifti_writer import nifti_gz

_THREADS = 2
# VOIs that may wait in memory for a thread.
_WAITING = 2


class Writer:
    """Files of one case; a context, at whose end all of them are on disk, under numbers.

    Parameters
    ----------
    staging : Path
        Folder of the run, inside the output; each attempt at a case makes one of its own in it.

    Attributes
    ----------
    folder : Path
        Exists once a file was put.
    files : list of str
        Names that the files are to get, relative to OUT: file `0`, `1`, ...
    """

    def __init__(self, staging: Path) -> None:
        self.folder = staging / uuid.uuid4().hex
        self.files: list[str] = []
        self._pool = ThreadPoolExecutor(_THREADS, "encode")
        self._waiting: deque[tuple[list[Row], Future[Row]]] = deque()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while self._waiting and kind is None:
                self._settle()
        finally:
            self._pool.shutdown(cancel_futures=True)
            if kind is not None:
                # A case that fails after all has no VOIs.
                shutil.rmtree(self.folder, ignore_errors=True)

    def put(
        self,
        rows: list[Row],
        kind: str,
        path: str,
        voxels: NDArray[np.integer],
        affine: Affine,
        limits: tuple[int, int],
    ) -> None:
        """Write one file later; its path and hashes are added to its rows by then.

        Raises
        ------
        SourceError
            This or an earlier file cannot be written.
        """
        self._submit(path, rows, lambda: _volume(kind, path, voxels, affine, limits))

    def put_picture(self, path: str, make: Callable[[], bytes]) -> None:
        """Write a picture later; no row names it, and no hash is kept of it.

        Raises
        ------
        SourceError
            This or an earlier file cannot be written.
        """
        self._submit(path, [], lambda: (make(), {}))

    def _submit(
        self, path: str, rows: list[Row], make: Callable[[], tuple[bytes | bytearray, Row]]
    ) -> None:
        if not self.files:
            self._attempt(path, self.folder.mkdir)
        target = self.folder / str(len(self.files))
        self.files.append(path)
        self._waiting.append((rows, self._pool.submit(self._write, target, path, make)))
        while len(self._waiting) > 2 * _WAITING:
            self._settle()

    def _settle(self) -> None:
        rows, job = self._waiting.popleft()
        for row in rows:
            row.update(job.result())

    def _write(
        self, target: Path, path: str, make: Callable[[], tuple[bytes | bytearray, Row]]
    ) -> Row:
        data, columns = make()
        self._attempt(path, lambda: _write_synced(target, data))
        return columns

    def _attempt(self, path: str, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            raise SourceError(
                f"--out {self.folder.parents[2]}: cannot write {path}: {error.strerror}. "
                "Fix this and run the same command again; finished cases are kept."
            ) from error


def _volume(
    kind: str, path: str, voxels: NDArray[np.integer], affine: Affine, limits: tuple[int, int]
) -> tuple[bytes | bytearray, Row]:
    data = nifti_gz(voxels, affine)
    sha256, voxels_sha256 = sha256_bytes(data), sha256_voxels(voxels, limits)
    if kind == "image":
        return data, {
            "image_path": path,
            "image_sha256": sha256,
            "image_voxels_sha256": voxels_sha256,
        }
    return data, {
        "label_path": path,
        "label_sha256": sha256,
        "label_voxels_sha256": voxels_sha256,
    }


def _write_synced(path: Path, data: bytes | bytearray) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
