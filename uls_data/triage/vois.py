"""The masks that are to be judged, and one of them decoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.errata.chain import root_of
from uls_data.errors import CaseError, ManifestError
from uls_data.geometry import Triple, bounding_box
from uls_data.io import sha256_voxels
from uls_data.manifest.archive import read_voi
from uls_data.manifest.by_axis import spacing_of
from uls_data.manifest.choice import counting, layer_of, rank
from uls_data.manifest.held import codes_of
from uls_data.manifest.parquet import manifest_files, read_rows, read_table
from uls_data.manifest.query import query
from uls_data.manifest.row import Column, Row
from uls_data.manifest.schema import arrow_schema
from uls_data.manifest.sorting import order, sorting
from uls_data.pictures.window import LUNG_WINDOW_HU, SOFT_WINDOW_HU, window_of
from uls_data.triage.listing import Entry, by_name
from uls_data.triage.outline import outlines
from uls_data.triage.png import slice_png
from uls_data.triage.verdicts import Key, Subject
from uls_data.voi import CENTRE, VOI_SHAPE, hounsfield
from uls_data.volumes import Volume
from uls_data.volumes.nifti import nifti_size

# `w` goes through them in this order; bone, which the soft window shows all white, at level 400
# and width 1800.
WINDOWS_HU = {"lung": LUNG_WINDOW_HU, "soft": SOFT_WINDOW_HU, "bone": (-500.0, 1300.0)}
# A VOI takes 17 to 42 MB: the one shown, those before and behind it, and one more.
_KEPT = 4
_UNSHOWN = ("affine", "candidate_scores")
# What names a mask; the same few texts stand in some of the columns.
_NAMES: tuple[Column, ...] = ("source", "voi_id", "layer", "parent_layer", "label_voxels_sha256")
_REPEATED = ("source", "layer", "parent_layer")
# Ranks above that count alike; ellipsoids, which rank no higher than this, are not shown.
_HIGHEST, _LOWEST = 1 << 40, -2


@dataclass(frozen=True)
class Voi:
    """A decoded VOI, as far as it could be read.

    Attributes
    ----------
    row : dict
        Of the manifest.
    image : ndarray, shape (256, 256, 128), int16 or int32, or None
        HU, RAS.
    mask : ndarray, bool
        The box that just holds the mask, RAS; empty where there is none.
    start : tuple of 3 int
        VOI index of its first voxel.
    subject : Subject or None
        None where no verdict can be given: the mask is not the manifest's, or has no image.
    window : str
        Of `WINDOWS_HU`, by lesion type.
    problems : tuple of str
    why : tuple of str
        What the list says of the mask, see `read_list`.
    """

    row: Row
    image: NDArray[np.signedinteger] | None
    mask: NDArray[np.bool_]
    start: Triple
    subject: Subject | None
    window: str
    problems: tuple[str, ...]
    why: tuple[str, ...] = ()

    def png(self, axis: int, index: int, window: str) -> bytes | None:
        """Slice across an axis as PNG, see `slice_png`; None without an image."""
        if self.image is None:
            return None
        # Not `take`, which would copy the whole image.
        plane: NDArray[Any] = self.image[
            tuple(index if a == axis else slice(None) for a in range(3))
        ]
        return slice_png(plane, WINDOWS_HU[window], self.row["pad_value_hu"])

    def shown(self) -> dict[str, Any]:
        """Return what a page needs to know, as JSON can hold it."""
        row = self.row
        low = np.array(self.start if self.mask.size else CENTRE)
        high = low + (self.mask.shape if self.mask.size else (1, 1, 1))
        return {
            "row": {name: _finite(value) for name, value in row.items() if value is not None},
            "has_image": self.image is not None,
            "judgeable": self.subject is not None,
            "problems": self.problems,
            "why": self.why,
            "window": self.window,
            "spacing_mm": _spacing_mm(row),
            "box": [low.tolist(), high.tolist()],
            "outlines": outlines(self.mask, self.start, VOI_SHAPE) if self.mask.size else [{}] * 3,
        }


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _spacing_mm(row: Row) -> list[float]:
    """Voxel size; cubes where it is not known."""
    sides = spacing_of(row)
    found = [side for side in sides if side is not None and isfinite(side) and side > 0]
    return found if len(found) == len(sides) else [1.0, 1.0, 1.0]


class Lesions:
    """The VOIs behind a build or an archive, in the order in which they are shown.

    Of each, only what names its mask is held in memory; its row is read when it is shown.

    Parameters
    ----------
    out : Path
        OUT folder, or one manifest of it.
    expression : str
        As `query` takes it; of the layers that meet it the preferred one of a VOI is judged.
    sort : str, optional
        Manifest column; the smallest values come first (`-column`: the largest), null last.
    listed : list of Entry, optional
        Only these VOIs, in this order unless `sort` gives another.

    Attributes
    ----------
    root : Path
        Folder that no file of a VOI may lie outside of.
    unknown : list of str
        VOIs of the list that are not among the masks.

    Raises
    ------
    ManifestError
        No mask meets the expression and the list, or `sort` is no column to sort by.
    """

    def __init__(
        self,
        out: Path,
        expression: str = "",
        sort: str | None = None,
        listed: list[Entry] | None = None,
    ) -> None:
        self._files = manifest_files(out)
        self.root = out.resolve() if out.is_dir() else root_of(out).resolve()
        self._listed = listed or []
        self._places = by_name(self._listed)
        self._numbers = self._masks(expression)
        self._names = pa.table({name: self._column(name) for name in _NAMES})
        if listed is not None:
            on_list = pc.is_in(self._names["voi_id"], value_set=pa.array([*self._places]))
            self._take(np.flatnonzero(on_list.to_numpy()))
        # By its place on the list, else as it stands in the manifest.
        places = np.zeros(len(self._numbers), np.int64)
        known: set[int] = set()
        for at, row in enumerate(self._names.to_pylist() if listed is not None else ()):
            meant = self._meant(row)
            places[at] = min(meant, default=-1)
            known.update(meant)
        self.unknown = [entry.voi_id for n, entry in enumerate(self._listed) if n not in known]
        self._take(_preferred(self._names, places))
        if not len(self):
            also = "" if listed is None else " and is on the list"
            raise ManifestError(f"{out}: no mask meets {expression!r}{also}: nothing to look at")
        if sort is not None:
            column, largest_first = sorting(sort)
            self._take(np.array(self.order(column, descending=largest_first)))
        self._decoded: OrderedDict[int, Future[Voi]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._numbers)

    def _masks(self, expression: str) -> NDArray[np.int64]:
        """Numbers of the manifests' rows that meet the expression and have a mask that counts."""
        kept = counting(self._files)
        if expression.strip():
            met = np.zeros(len(kept), bool)
            met[query(self._files, expression, ["status"]).index.to_numpy()] = True
            kept &= met
        for name in ("voi_id", "label_path"):
            kept &= read_table(self._files, [name])[name].is_valid().to_numpy()
        return np.flatnonzero(kept)

    def _column(self, name: str) -> pa.Array:
        """Return a manifest's column of the VOIs, in their order."""
        column = read_table(self._files, [name])[name].take(pa.array(self._numbers))
        return column.dictionary_encode() if name in _REPEATED else column

    def _take(self, order: NDArray[np.int64]) -> None:
        """Show these VOIs alone, in this order."""
        self._numbers, self._names = self._numbers[order], self._names.take(pa.array(order))

    def _meant(self, row: Row) -> list[int]:
        """Places on the list where a mask stands."""
        return [n for n, e in self._places.get(str(row["voi_id"]), ()) if e.is_of(row)]

    def subject(self, number: int) -> Subject:
        """Mask of a VOI, by its number in the order in which they are shown."""
        row: Row = self._names.slice(number, 1).to_pylist()[0]
        # A further correction of a mask goes by the layer that the first one was made from.
        named = row["source"], str(row["voi_id"]), layer_of(row)
        return Subject(*named, row["label_voxels_sha256"])

    def numbers(self, keys: Collection[Key]) -> dict[Key, int]:
        """Numbers of those of some VOIs that are shown."""
        vois = pa.array(sorted({voi_id for _, voi_id in keys}), pa.string())
        found = pc.is_in(self._names["voi_id"], value_set=vois).to_numpy()
        numbers = {self.subject(at).key: at for at in np.flatnonzero(found).tolist()}
        return {key: number for key, number in numbers.items() if key in keys}

    def named(self, voi_id: str) -> int | None:
        """Find the first VOI of that name; None where there is none."""
        number: int = pc.index(self._names["voi_id"], voi_id).as_py()
        return None if number < 0 else number

    def order(self, column: str, *, descending: bool = False) -> list[int]:
        """Numbers of the VOIs by a column, null last; ties as they stand."""
        return order(self._column(sorting(column)[0]), descending)

    def columns(self) -> list[str]:
        """Columns of numbers that tell these VOIs apart."""
        found = []
        for field in arrow_schema():
            if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
                low, high = pc.min_max(self._column(field.name)).as_py().values()
                if low != high:
                    found.append(field.name)
        return found

    def voi(self, number: int) -> Voi:
        """Decode a VOI, once for all who ask while it is kept.

        Raises
        ------
        ManifestError
            The manifest is another one by now.
        """
        with self._lock:
            future = self._decoded.get(number)
            mine = future is None
            if future is None:
                future = self._decoded[number] = Future()
            self._decoded.move_to_end(number)
            while len(self._decoded) > _KEPT:
                self._decoded.popitem(last=False)
        if mine:
            try:
                future.set_result(self._read(number))
            except BaseException as error:
                future.set_exception(error)
                with self._lock:
                    self._decoded.pop(number, None)
                raise
        return future.result()

    def _read(self, number: int) -> Voi:
        names = [name for name in arrow_schema().names if name not in _UNSHOWN]
        rows: list[Row] = read_rows(self._files, [int(self._numbers[number])], names).to_pylist()
        held: Row = self._names.slice(number, 1).to_pylist()[0]
        if not rows or any(rows[0][name] != held[name] for name in _NAMES):
            raise ManifestError("the manifest was changed: start `uls-data triage` again")
        why = tuple(text for n in self._meant(held) for text in self._listed[n].why)
        return _decode(self.root, rows[0], self.subject(number), why)


def _preferred(names: pa.Table, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Masks to show: of each VOI the preferred one; by their place, then as they stand.

    Parameters
    ----------
    names : Table
        `_NAMES` of each mask.
    places : ndarray
        Of each mask, from 0; negative: it is not to be shown.
    """
    kinds = codes_of(names["layer"]) * len(names) + codes_of(names["parent_layer"])
    _, first, kind = np.unique(kinds, return_index=True, return_inverse=True)
    layers: list[Row] = names.select(["layer", "parent_layer"]).take(first).to_pylist()
    ranks = np.array([min(rank(row), _HIGHEST) for row in layers], np.int64)[kind]
    at = np.flatnonzero((ranks > _LOWEST) & (places >= 0))
    vois = (codes_of(names["voi_id"]) * len(names) + codes_of(names["source"]))[at]
    order = np.lexsort((at, -ranks[at], vois))
    starts = np.flatnonzero(np.diff(vois[order], prepend=-1))
    best = at[order[starts]]
    # A VOI stands where its first mask does.
    seen = np.minimum.reduceat(at[order], starts) if len(at) else at
    result: NDArray[np.int64] = best[np.lexsort((seen, places[best]))]
    return result


def _decode(root: Path, row: Row, subject: Subject, why: tuple[str, ...]) -> Voi:
    problems = []
    mask, start, sha256 = np.zeros((0, 0, 0), bool), (0, 0, 0), None
    try:
        label = _read(root, str(row["label_path"])).ras != 0
        sha256 = sha256_voxels(label.view(np.uint8))
        if subject.sha256 is None:
            problems.append("The manifest has no hash of the mask; index it again.")
        elif subject.sha256 != sha256:
            problems.append("The label file is not the one that the manifest describes.")
        box, start = bounding_box(label)
        mask = box.copy()
    except (CaseError, ManifestError) as error:
        problems.append(f"Mask: {_words(error)}")
    image: NDArray[Any] | None = None
    try:
        if row["image_path"] is None:
            problems.append(
                "There is no image to judge the mask by: write masks into the folder of the build "
                "that they are of (predict --out), and give triage that folder."
            )
        else:
            volume = _read(root, row["image_path"])
            image, _ = hounsfield(volume.ras, volume.slope, volume.intercept)
            fits = image.dtype.itemsize <= 4
            # A copy: a mapped file may change below us.
            image = np.array(image, image.dtype if fits else np.int32, order="F")
    except (CaseError, ManifestError) as error:
        problems.append(f"Image: {_words(error)}")
    return Voi(
        row=row,
        image=image,
        mask=mask,
        start=start,
        subject=subject if image is not None and sha256 == subject.sha256 else None,
        window=_window(row, image, mask, start),
        problems=tuple(problems),
        why=why,
    )


def _read(root: Path, relative: str) -> Volume:
    """Read a file of a VOI, which may lie below `root` only."""
    try:
        path = (root / relative).resolve()
        if not path.is_relative_to(root):
            raise ManifestError(f"{relative}: lies outside of {root.name}")
        if not path.is_file():
            raise ManifestError(f"{relative}: no such file")
        if path.suffix != ".zip" and nifti_size(path)[0] != prod(VOI_SHAPE):
            raise ManifestError(f"{relative}: expected the grid {VOI_SHAPE}")
        volume = read_voi(path)
    except (OSError, ValueError) as error:
        raise ManifestError(f"{relative}: cannot be read: {error}") from error
    if volume.ras.shape != VOI_SHAPE:
        raise ManifestError(f"{relative}: its grid is {volume.ras.shape}")
    return volume


def _words(error: CaseError | ManifestError) -> str:
    return error.detail if isinstance(error, CaseError) else str(error)


def _window(row: Row, image: NDArray[Any] | None, mask: NDArray[np.bool_], start: Triple) -> str:
    """Name of the window that fits the lesion, see `window_of`."""
    z = CENTRE[2]
    plane = np.zeros(VOI_SHAPE[:2], bool)
    if 0 <= z - start[2] < mask.shape[2]:
        x, y = (slice(start[axis], start[axis] + mask.shape[axis]) for axis in (0, 1))
        plane[x, y] = mask[:, :, z - start[2]]
    hu = np.zeros(VOI_SHAPE[:2]) if image is None else image[:, :, z]
    lung = window_of(row["lesion_type"] or "unknown", hu, plane) == LUNG_WINDOW_HU
    return "lung" if lung else "soft"
