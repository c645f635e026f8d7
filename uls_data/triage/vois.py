"""The masks that are to be judged, and one of them decoded."""

from __future__ import annotations

from collections import OrderedDict
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
from uls_data.manifest.choice import COLUMNS as CHOICE_COLUMNS
from uls_data.manifest.choice import counting, layer_of, rank
from uls_data.manifest.parquet import manifest_files, read_rows, read_table
from uls_data.manifest.query import query
from uls_data.manifest.row import Row
from uls_data.manifest.schema import arrow_schema
from uls_data.pictures.window import LUNG_WINDOW_HU, SOFT_WINDOW_HU, window_of
from uls_data.triage.listing import Entry, by_name
from uls_data.triage.outline import outlines
from uls_data.triage.png import slice_png
from uls_data.triage.verdicts import Subject
from uls_data.voi import CENTRE, VOI_SHAPE, hounsfield
from uls_data.volumes import Volume
from uls_data.volumes.nifti import nifti_size

# `w` goes through them in this order; bone, which the soft window shows all white, at level 400
# and width 1800.
WINDOWS_HU = {"lung": LUNG_WINDOW_HU, "soft": SOFT_WINDOW_HU, "bone": (-500.0, 1300.0)}
# A VOI takes 17 to 42 MB: the one shown, those before and behind it, and one more.
_KEPT = 4
_UNSHOWN = ("affine", "candidate_scores")


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
        None where no verdict can be given, because the mask is not the manifest's.
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

    Parameters
    ----------
    out : Path
        OUT folder, or one manifest of it.
    expression : str
        As `query` takes it; of the layers that meet it the preferred one of a VOI is judged.
    sort : str, optional
        Manifest column; the smallest values come first, null last.
    listed : list of Entry, optional
        Only these VOIs, in this order unless `sort` gives another.

    Attributes
    ----------
    root : Path
        Folder that no file of a VOI may lie outside of.
    subjects : list of Subject
        By number, in the order in which they are shown.
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
        files = manifest_files(out)
        self.root = out.resolve() if out.is_dir() else root_of(out).resolve()
        met = query(files, expression, ["status"]).index
        names = [name for name in arrow_schema().names if name not in _UNSHOWN]
        counted = counting(read_table(files, CHOICE_COLUMNS))
        numbers = pa.array(met.to_numpy(), pa.int64())
        table = read_rows(files, numbers.filter(counted.take(numbers)).to_pylist(), names)
        table = table.filter(
            pc.and_(pc.is_valid(table["label_path"]), pc.is_valid(table["voi_id"]))
        )
        first: dict[tuple[str, str], tuple[int, int, int]] = {}
        ranks: dict[tuple[str, str], int] = {}
        self._why: dict[tuple[str, str], list[str]] = {}
        places = by_name(listed or ())
        known: set[int] = set()
        shown = ("source", "voi_id", "layer", "parent_layer")
        rows: list[Row] = table.select(list(shown)).to_pylist()
        for at, row in enumerate(rows):
            name = str(row["voi_id"])
            key = row["source"], name
            meant = [n for n, entry in places.get(name, ()) if entry.is_of(row)]
            known.update(meant)
            if (listed is not None and not meant) or rank(row) <= ranks.get(key, -2):
                continue
            ranks[key] = rank(row)
            # Ordered by its place on the list, else as it stands in the manifest.
            seen = first.get(key, (0, at, at))[1]
            first[key] = (meant[0] if meant else 0, seen, at)
            self._why[key] = [text for n in meant for text in (listed or [])[n].why]
        if not first:
            also = "" if listed is None else " and is on the list"
            raise ManifestError(f"{out}: no mask meets {expression!r}{also}: nothing to look at")
        self.unknown = [e.voi_id for n, e in enumerate(listed or ()) if n not in known]
        self._table = table.take([at for *_, at in sorted(first.values())])
        if sort is not None:
            self._table = self._table.take(self.order(sort))
        named = ["source", "voi_id", "layer", "parent_layer", "label_voxels_sha256"]
        # A further correction of a mask goes by the layer that the first one was made from.
        rows = self._table.select(named).to_pylist()
        self.subjects = [
            Subject(row["source"], str(row["voi_id"]), layer_of(row), row["label_voxels_sha256"])
            for row in rows
        ]
        self._decoded: OrderedDict[int, Future[Voi]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.subjects)

    def order(self, column: str, *, descending: bool = False) -> list[int]:
        """Numbers of the VOIs by a column, null last; ties as they stand."""
        schema = self._table.schema
        if column not in schema.names or pa.types.is_nested(schema.field(column).type):
            raise ManifestError(f"{column}: no column to sort by")
        direction = "descending" if descending else "ascending"
        found: list[int] = pc.sort_indices(self._table, [(column, direction)]).to_pylist()
        return found

    def columns(self) -> list[str]:
        """Columns of numbers that tell these VOIs apart."""
        return [
            field.name
            for field in self._table.schema
            if (pa.types.is_integer(field.type) or pa.types.is_floating(field.type))
            and len(pc.unique(self._table[field.name].drop_null())) > 1
        ]

    def voi(self, number: int) -> Voi:
        """Decode a VOI, once for all who ask while it is kept."""
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
                row: Row = self._table.slice(number, 1).to_pylist()[0]
                subject = self.subjects[number]
                why = tuple(self._why[subject.key])
                future.set_result(_decode(self.root, row, subject, why))
            except BaseException as error:
                future.set_exception(error)
                with self._lock:
                    self._decoded.pop(number, None)
                raise
        return future.result()


def _decode(root: Path, row: Row, subject: Subject, why: tuple[str, ...]) -> Voi:
    problems = []
    mask, start, sha256 = np.zeros((0, 0, 0), bool), (0, 0, 0), None
    try:
        label = _read(root, str(row["label_path"])).ras != 0
        sha256 = sha256_voxels(label.view(np.uint8))
        if subject.sha256 is None:
            problems.append("The manifest does not tell the hash of the mask; index it anew.")
        elif subject.sha256 != sha256:
            problems.append("The label file is not the one that the manifest describes.")
        box, start = bounding_box(label)
        mask = box.copy()
    except (CaseError, ManifestError) as error:
        problems.append(f"Mask: {_words(error)}")
    image: NDArray[Any] | None = None
    try:
        if row["image_path"] is None:
            problems.append("There is no image; the mask stands alone.")
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
        subject=subject if sha256 is not None and sha256 == subject.sha256 else None,
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
