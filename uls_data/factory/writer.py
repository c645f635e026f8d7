"""Encode and write VOI files in threads of their own, while the next VOI is cut.

Encoding is most of a build's time and holds no interpreter lock.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from uls_data.canonical import nifti_gz
from uls_data.errors import SourceError
from uls_data.factory.options import Row
from uls_data.geometry import Affine
from uls_data.io import sha256_bytes, sha256_voxels, write_bytes

_THREADS = 2
# VOIs that may wait in memory for a thread.
_WAITING = 2


class Writer:
    """Files of one case; a context, at whose end all of them are on disk.

    Parameters
    ----------
    out : Path
        Output folder.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._pool = ThreadPoolExecutor(_THREADS, "encode")
        self._waiting: deque[tuple[Row, Future[Row]]] = deque()
        self._written: list[Path] = []

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
                for path in self._written:
                    path.unlink(missing_ok=True)

    def put(
        self,
        row: Row,
        kind: str,
        path: str,
        voxels: NDArray[np.integer],
        affine: Affine,
        limits: tuple[int, int],
    ) -> None:
        """Write one file later; its path and hashes are added to the row by then.

        Raises
        ------
        SourceError
            This or an earlier file cannot be written.
        """
        job = self._pool.submit(self._write, kind, path, voxels, affine, limits)
        self._waiting.append((row, job))
        while len(self._waiting) > 2 * _WAITING:
            self._settle()

    def _settle(self) -> None:
        row, job = self._waiting.popleft()
        row.update(job.result())

    def _write(
        self,
        kind: str,
        path: str,
        voxels: NDArray[np.integer],
        affine: Affine,
        limits: tuple[int, int],
    ) -> Row:
        data = nifti_gz(voxels, affine)
        try:
            write_bytes(self._out / path, data)
            self._written.append(self._out / path)
        except OSError as error:
            raise SourceError(
                f"--out {self._out}: cannot write {path}: {error.strerror}. "
                "Mend that and give the same command again; finished cases are kept."
            ) from error
        return {
            f"{kind}_path": path,
            f"{kind}_sha256": sha256_bytes(data),
            f"{kind}_voxels_sha256": sha256_voxels(voxels, limits),
        }
