"""Pictures of a report's masks: those that the build made, or drawn now and kept."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from uls_data.errors import CaseError
from uls_data.io import atomic_write, write_bytes
from uls_data.manifest.paths import above, voi_file
from uls_data.manifest.row import Row
from uls_data.outcome import Reason, Status
from uls_data.pictures.stored import stored_thumbnail
from uls_data.pictures.thumbnail import SUFFIX, thumbnail_path
from uls_data.pictures.thumbnails import Subject, make_thumbnail
from uls_data.reporting.figure import Numbers
from uls_data.scoring.collection import Item
from uls_data.voi import VOI_SHAPE
from uls_data.volumes import read_volume


class Thumbnails:
    """Pictures for a page.

    Parameters
    ----------
    page : Path
    folder : Path
        Where pictures that are drawn now are kept.
    embedded : bool
        The page holds its pictures; else they lie in that folder.

    Attributes
    ----------
    found, drawn : int
        Masks with a picture, and how many of those were drawn now.
    missing : list of (str, str)
        VOIs whose picture could not be drawn, and why.
    """

    def __init__(self, page: Path, folder: Path, embedded: bool) -> None:
        self.page, self.folder, self.embedded = page, folder, embedded
        self.found = self.drawn = 0
        self.missing: list[tuple[str, str]] = []

    def of(self, row: Row, manifest: Path) -> tuple[str | None, Numbers]:
        """Picture of a row as the page names it, and what was measured on the mask."""
        if row["status"] != Status.OK or row["label_path"] is None:
            return None, {}
        label = voi_file(manifest, row["label_path"])
        kept = self.folder / f"{_key(row, label)}{SUFFIX}"
        try:
            for path in (voi_file(manifest, thumbnail_path(row["label_path"])), kept):
                if (found := stored_thumbnail(path, row)) is not None:
                    data, numbers = found
                    break
            else:
                path = kept
                data, numbers = _drawn(row, manifest, label)
                write_bytes(kept, data)
                self.drawn += 1
        except CaseError as error:
            self.missing.append((str(row["voi_id"]), error.detail))
            return None, {}
        self.found += 1
        picture = base64.b64encode(data).decode() if self.embedded else self._beside(path, data)
        return picture, numbers

    def _beside(self, path: Path, data: bytes) -> str:
        """Name of a picture beside the page; the build's own is linked, or copied."""
        if path.parent != self.folder:
            own = self.folder / f"{hashlib.sha256(data).hexdigest()[:32]}{SUFFIX}"
            if not own.is_file():
                with atomic_write(own) as temporary:
                    try:
                        os.link(path, temporary)
                    except OSError:
                        shutil.copyfile(path, temporary)
            path = own
        return path.relative_to(self.page.parent).as_posix()


class StoredNumbers:
    """What the build measured on masks when it drew their pictures."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[Path, str], bool] = {}

    def of(self, row: Row, manifest: Path) -> Numbers:
        """Numbers of a row's mask; empty where the build drew no picture of it."""
        label = row["label_path"]
        if row["status"] != Status.OK or label is None or not self._has(manifest, label):
            return {}
        found = stored_thumbnail(voi_file(manifest, thumbnail_path(label)), row)
        return {} if found is None else found[1]

    def _has(self, manifest: Path, label: str) -> bool:
        """Whether there are pictures of the masks of a folder: most files need no look then."""
        key = manifest, label.rpartition("/")[0]
        if key not in self._drawn:
            folder = Path(thumbnail_path(label)).parent
            roots = (above(manifest), manifest.parent)
            self._drawn[key] = any((root / folder).is_dir() for root in roots)
        return self._drawn[key]


def _key(row: Row, label: Path) -> str:
    """Name of a thumbnail that was drawn late: another one as soon as the mask is another."""
    try:
        state = label.stat()
        when = [state.st_size, state.st_mtime_ns]
    except OSError:
        when = []
    identity = [row["source"], row["case_id"], row["lesion_index"], row["sample_index"]]
    text = json.dumps([*identity, row["layer"], row["label_sha256"], row["image_sha256"], when])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _drawn(row: Row, manifest: Path, label: Path) -> tuple[bytes, dict[str, float]]:
    mask, _, _ = Item(str(row["voi_id"]), (), 0, label).read()
    if mask.shape != VOI_SHAPE:
        raise CaseError(Reason.VOI_SHAPE, f"{label.name}: shape {mask.shape}")
    if not mask.any():
        raise CaseError(Reason.EMPTY_MASK, f"{label.name}: no voxel is lesion")
    hu = None
    if row["image_path"] is not None:
        image = voi_file(manifest, row["image_path"])
        volume = read_volume(image, image.parent)
        if volume.ras.shape != VOI_SHAPE:
            raise CaseError(Reason.VOI_SHAPE, f"{image.name}: shape {volume.ras.shape}")
        hu = np.asarray(volume.ras)
    return make_thumbnail(Subject.of(mask), row, hu, row["pad_value_hu"])
