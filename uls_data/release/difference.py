"""What differs between two releases, lesion by lesion, and why."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError, UlsDataError
from uls_data.io import sha256_voxels
from uls_data.manifest.by_axis import click_in_scan
from uls_data.manifest.choice import CORRECTED, Choice, layer_of, lesion_of, voi_of
from uls_data.manifest.row import Column, Row
from uls_data.outcome import Status
from uls_data.release.content import read_rows, sources_of
from uls_data.release.parts import content_of, open_part
from uls_data.release.record import RECORD, PartRecord, read_record, safe_path
from uls_data.voi import VOI_SHAPE
from uls_data.volumes import read_volume

KINDS = (
    *("added", "removed", "mask_changed", "image_changed", "click_moved", "measurement_moved"),
    *("relabelled", "licence_changed"),
)
_MEASUREMENTS: tuple[Column, ...] = (
    *("long_axis_vox", "short_axis_vox", "volume_mm3", "mask_voxels", "recist_long_vox"),
    *("recist_short_vox", "recist_points_vox", "key_slice_voi"),
)
_LABELS: tuple[Column, ...] = ("lesion_type", "supervision", "split")
_LICENCE: tuple[Column, ...] = ("licence", "redistributable")
# Headers hold the affine as float32.
_SAME_PLACE_VOX = 0.01
_SAME_NUMBER = 1e-6
_LARGEST_LABEL_BYTES = 1 << 26


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes
    ----------
    kind : str
        Of `KINDS`.
    source, voi_id, layer : str or None
        Of the newer release where it has the VOI; a licence has no VOI.
    detail : str
        From what to what.
    reason : str
        Why, as the rows tell it; empty where they do not.
    dice : float or None
        Of a changed mask with the older one, laid over it where it lies in the scan; None where
        one of them cannot be read, which `detail` says.
    """

    kind: str
    source: str
    voi_id: str | None
    layer: str | None
    detail: str
    reason: str
    dice: float | None = None

    def record(self) -> dict[str, Any]:
        """Return it as a dict."""
        return asdict(self)


def release_diff(
    old: str | Path,
    new: str | Path,
    *,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Difference]:
    """Compare two releases, packed or unpacked; OUT folders of builds are taken, too.

    Masks are paired by lesion, click and the layer that they were before a correction.

    Returns
    -------
    list of Difference
        By source, VOI and kind. Masks and images are compared by the hashes of their voxels, so
        another encoder or header makes no difference; only changed masks are read.

    Raises
    ------
    UlsDataError
        One of them holds no manifest.
    """
    old, new = Path(old), Path(new)
    before, after = sources_of(old), sources_of(new)
    names = sorted(before.keys() | after.keys())
    if started is not None:
        started(len(names))
    found: list[Difference] = []
    with _Labels(old) as old_labels, _Labels(new) as new_labels:
        for source in names:
            was = _Side(read_rows(source, before.get(source, [])) if source in before else [])
            now = _Side(read_rows(source, after.get(source, [])) if source in after else [])
            found += _licence(source, was, now)
            for key in sorted(was.ok.keys() | now.ok.keys(), key=str):
                found += _compare(was, now, key, old_labels, new_labels)
            if progress is not None:
                progress(1)
    return found


class _Side:
    """Rows of one source in one release."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.ok: dict[tuple[Any, ...], Row] = {}
        self.ended: dict[tuple[Any, ...], Row] = {}
        # In a build, a corrected mask is beside the one that it replaces.
        choice = Choice(rows)
        for row in rows:
            if row["status"] != Status.OK.value:
                self.ended.setdefault(lesion_of(row), row)
            elif choice.counts(row):
                self.ok[*voi_of(row), layer_of(row)] = row

    def why_not(self, row: Row) -> str:
        """Why a lesion of the other release is not in this one."""
        ended = self.ended.get(lesion_of(row))
        return f"{ended['reason']}: {_line(ended['detail'])}" if ended is not None else ""


def _compare(
    was: _Side, now: _Side, key: tuple[Any, ...], old_labels: _Labels, new_labels: _Labels
) -> Iterator[Difference]:
    old, new = was.ok.get(key), now.ok.get(key)
    if old is None or new is None:
        row = new or old
        assert row is not None
        here, there = ("added", was) if old is None else ("removed", now)
        what = "is new" if old is None else "is gone"
        yield _difference(here, row, what, there.why_not(row))
        return
    reason = _reason(old, new)
    if old["image_voxels_sha256"] != new["image_voxels_sha256"]:
        yield _difference("image_changed", new, _hashes(old, new, "image_voxels_sha256"), reason)
    if old["label_voxels_sha256"] != new["label_voxels_sha256"]:
        detail, dice = _hashes(old, new, "label_voxels_sha256"), None
        try:
            dice = _dice(old, new, old_labels.read(old), new_labels.read(new))
        except (CaseError, UlsDataError) as error:
            detail += f"; no Dice: {error}"
        yield _difference("mask_changed", new, detail, reason, dice)
    moved = _moved_vox(old, new)
    if moved is not None:
        yield _difference("click_moved", new, moved, reason)
    for kind, columns in (("measurement_moved", _MEASUREMENTS), ("relabelled", _LABELS)):
        changed = [
            f"{name} {_text(old[name])} -> {_text(new[name])}"
            for name in columns
            if not _same(old[name], new[name])
        ]
        if changed:
            yield _difference(kind, new, ", ".join(changed), reason)


def _difference(
    kind: str, row: Row, detail: str, reason: str, dice: float | None = None
) -> Difference:
    return Difference(kind, row["source"], row["voi_id"], row["layer"], detail, reason, dice)


def _licence(source: str, was: _Side, now: _Side) -> Iterator[Difference]:
    before, after = (
        {tuple(row[name] for name in _LICENCE) for row in side.rows} for side in (was, now)
    )
    if before and after and before != after:
        detail = " -> ".join(
            "; ".join(sorted(f"{name}, redistributable {may}" for name, may in its))
            for its in (before, after)
        )
        yield Difference("licence_changed", source, None, None, detail, "")


def _reason(old: Row, new: Row) -> str:
    """Why a VOI changed: its correction, or else another recipe, profile, model or software."""
    if new["layer"] == CORRECTED and old["detail"] != new["detail"]:
        return _line(new["detail"])
    names: tuple[Column, ...] = (
        *("recipe_version", "profile", "seed", "model_sha256", "software_version"),
    )
    return ", ".join(
        f"{name} {_text(old[name])} -> {_text(new[name])}"
        for name in names
        if old[name] != new[name]
    )


def _line(text: Any) -> str:
    return " ".join(str(text or "no detail").split())


def _hashes(
    old: Row, new: Row, column: Literal["image_voxels_sha256", "label_voxels_sha256"]
) -> str:
    what = column.split("_")[0]
    return f"{what} {str(old[column])[:12]}... -> {str(new[column])[:12]}..."


def _moved_vox(old: Row, new: Row) -> str | None:
    """Where the click went, by its index in the scan or else by the affine of the VOI."""
    one, other = (list(click_in_scan(row)) for row in (old, new))
    if None not in one and None not in other:
        return None if one == other else f"click {_text(one)} -> {_text(other)}"
    if old["affine"] is None or new["affine"] is None:
        return None
    by = _offset_vox(old, new)
    return f"VOI moved by {_text(by.tolist())} voxels" if abs(by).max() > _SAME_PLACE_VOX else None


def _offset_vox(old: Row, new: Row) -> NDArray[np.float64]:
    """Index in the old VOI of voxel (0, 0, 0) of the new one."""
    one, other = (np.array(row["affine"], np.float64).reshape(4, 4) for row in (old, new))
    return geometry.offset_vox(one, other)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _SAME_NUMBER * max(1.0, abs(one)) or (
            one != one and other != other
        )
    return bool(one == other)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"({', '.join(map(_text, value))})"
    return "null" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _dice(old: Row, new: Row, one: NDArray[Any], other: NDArray[Any]) -> float:
    """Dice of two masks of one scan, each in its own VOI."""
    shift = np.zeros(3, np.int64)
    if old["affine"] is not None and new["affine"] is not None:
        shift = np.rint(_offset_vox(old, new)).astype(np.int64)
    voxels = np.argwhere(other) + shift
    inside = ((voxels >= 0) & (voxels < VOI_SHAPE)).all(axis=1)
    shared = int(np.count_nonzero(one[tuple(voxels[inside].T)]))
    total = int(np.count_nonzero(one)) + len(voxels)
    return 2 * shared / total if total else 1.0


class _Labels:
    """Masks of a release, from its unpacked files or out of its parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: list[PartRecord] = []
        if (folder / RECORD).is_file():
            self._parts = list(read_record(folder / RECORD).parts)
        self._open: tuple[str, tarfile.TarFile] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> _Labels:
        self._temporary = Path(self._stack.enter_context(TemporaryDirectory()))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, row: Row) -> NDArray[np.bool_]:
        """Mask of a row, shape (256, 256, 128).

        Raises
        ------
        CaseError, UlsDataError
            It is not there, cannot be read, or is not the mask that its row describes.
        """
        path = self.folder / _safe(row["label_path"])
        if not path.is_file():
            path = self._unpacked(row)
        voxels = read_volume(path, path.parent).ras
        if sha256_voxels(voxels) != row["label_voxels_sha256"]:
            raise UlsDataError(f"{row['label_path']} is not the mask that its row describes")
        return np.asarray(voxels != 0)

    def _unpacked(self, row: Row) -> Path:
        name, voi = str(row["label_path"]), str(row["voi_id"])
        part = next(
            (
                p.path
                for p in self._parts
                if p.source == row["source"] and p.first_voi <= voi <= p.last_voi
            ),
            None,
        )
        if part is None or not (self.folder / part).is_file():
            raise UlsDataError(f"{name} is not there")
        try:
            if self._open is None or self._open[0] != part:
                tar = self._stack.enter_context(open_part(self.folder / part))
                self._open = part, tar
            info = self._open[1].getmember(name)
            content = content_of(self._open[1], info)
            if content is None or info.size > _LARGEST_LABEL_BYTES:
                raise UlsDataError(f"{part}: {name} is not a mask")
            path = self._temporary / "label.nii.gz"
            path.write_bytes(content.read())
        except (KeyError, tarfile.TarError, OSError) as error:
            raise UlsDataError(f"{part}: {name} cannot be read: {error}") from error
        return path


def _safe(path: str | None) -> str:
    try:
        return safe_path(path or "")
    except ValueError as error:
        raise UlsDataError(f"{path}: {error}") from error
