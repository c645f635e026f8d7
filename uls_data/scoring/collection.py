"""Masks to score or to score against: of a manifest, of a folder of files, of the challenge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from filecmp import cmp
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.geometry import Affine, spacing_mm
from uls_data.manifest.archive import Name, Names, entries, read_voi
from uls_data.manifest.choice import (
    ANNOTATED,
    CORRECTED,
    Choice,
    layer_of,
    lesion_of,
)
from uls_data.manifest.choice import COLUMNS as CHOICE_COLUMNS
from uls_data.manifest.parquet import manifest_files, read_table
from uls_data.manifest.paths import voi_file
from uls_data.manifest.row import Row
from uls_data.outcome import Reason
from uls_data.scoring.consistency import Offset
from uls_data.scoring.job import Stack, read_json, read_spacings
from uls_data.scoring.least import COLUMNS as LEAST_COLUMNS
from uls_data.scoring.least import across, has_least, least

_COLUMNS = (*CHOICE_COLUMNS, "patient_id", "voi_id", "label_path", "affine", *LEAST_COLUMNS)
_OWN = Names("own")
_FAR_MM = 1e5
SINGLE, MULTI, STACKED_SPACINGS, VOI_NAMES = (
    *("single_sample.json", "multi_sample.json", "stacked_spacing.json"),
    "vois.json",
)


@dataclass(frozen=True)
class Item:
    """One mask, not read yet.

    Attributes
    ----------
    voi_id, patient, lesion_type, source : str
    lesion : tuple
        Same for all clicks on one lesion.
    sample : int
        Number of the click; the lowest of a lesion counts in the means.
    path : Path
    number : int or None
        Of the VOI in a stack.
    affine : ndarray, 4x4, or None
        As a manifest states it; else the file's is taken.
    lines : dict, optional
        Row of a measured lesion: the mask is the ellipsoid of its lines, no file's.
    across : bool
        Whether the mask is the ellipsoid of lines across the file's.
    """

    voi_id: str
    lesion: tuple[Any, ...]
    sample: int
    path: Path
    source: str = "unknown"
    patient: str = ""
    lesion_type: str = "unknown"
    number: int | None = None
    affine: Affine | None = None
    lines: Row | None = None
    across: bool = False

    def read(self) -> tuple[NDArray[np.bool_], Affine | None, NDArray[np.bool_]]:
        """Mask in RAS order, its affine (None where there is none), and the mask as stored.

        Raises
        ------
        CaseError
        """
        if self.lines is not None:
            drawn = least(self.lines)
            return drawn, self.affine, drawn
        if self.across:
            mask, affine, _ = replace(self, across=False).read()
            if affine is None:
                detail = f"{self.path.name}: an ellipsoid has a height in mm"
                raise CaseError(Reason.SPACING_UNKNOWN, detail)
            drawn = across(mask, spacing_mm(affine))
            return drawn, affine, drawn
        if self.number is not None:
            mask = np.asarray(_stack(self.path)[self.number]) != 0
            return mask, None, mask
        try:
            volume = read_voi(self.path)
        except OSError as error:
            raise _unread(self.path, error) from error
        # NaN is not 0: it would be lesion.
        if volume.stored.dtype.kind == "f" and np.isnan(volume.stored).any():
            detail = f"{self.path.name}: voxels of the mask are NaN; write 0 and 1"
            raise CaseError(Reason.NOT_FINITE, detail)
        stored: NDArray[np.bool_] = volume.stored != 0
        affine = volume.affine if self.affine is None else self.affine
        return volume.orientation.apply(stored), affine, stored


@lru_cache(maxsize=2)
def _stack(path: Path) -> Stack:
    # A compressed stack is unpacked whole: once, not for every VOI of it.
    return Stack(path)


def _unread(path: Path, error: OSError) -> CaseError:
    return CaseError(Reason.IO_ERROR, f"{path.name}: {error.strerror or type(error).__name__}")


@dataclass(frozen=True)
class Pair:
    """Two clicks on one lesion, of the challenge's `multi_sample.json`."""

    one: str
    other: str
    offset_mm: Offset
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True)
class Collection:
    """Masks by the name of their VOI.

    Attributes
    ----------
    items : dict of str to Item
    counted : frozenset of str, or None
        VOIs that count in the means, of `single_sample.json`; None: the first click of each
        lesion.
    pairs : tuple of (tuple of Pair), or None
        What is compared for consistency, lesion by lesion; None: all clicks of a lesion.
    ellipsoids : dict of str to Item
        Of 3D pseudo-masks whose rows hold lines: the ellipsoids of these, which are the least to
        beat. Those of lesions are there, too, whose mask a filter removed or nobody found.
    """

    items: dict[str, Item]
    counted: frozenset[str] | None = None
    pairs: tuple[tuple[Pair, ...], ...] | None = None
    ellipsoids: dict[str, Item] = field(default_factory=dict)

    def partner(self, item: Item) -> Item | None:
        """Return the mask of the same VOI: by name, or by its number where both are stacks."""
        if item.voi_id in self.items or item.number is None:
            return self.items.get(item.voi_id)
        items = list(self.items.values())
        if item.number < len(items) and items[item.number].number == item.number:
            return items[item.number]
        return None


def collect(path: str | Path, layer: str | None = None, *, truth: bool = True) -> Collection:
    """Masks behind a path.

    Parameters
    ----------
    path : path
        A manifest, or the OUT folder of a build; a folder of `.nii`, `.nii.gz` or `.nii.gz.zip`;
        a stack (`.mha`), or a folder with one, such as the challenge's `ground-truth`.
    layer : str, optional
        Of the masks; needed where there are several.
    truth : bool
        Whether `annotated` is the layer that is meant where there are others, or is not.

    Raises
    ------
    ManifestError, SourceError
        Nothing there that is one of these, or several layers.
    """
    path = Path(path)
    if path.is_file() and path.suffix == ".parquet":
        return _of_manifest(path, layer, truth)
    if path.is_file() and path.suffix == ".mha":
        return _of_stacks([path], path.parent)
    if path.is_dir():
        if any(path.glob("manifest/*.parquet")) or any(path.glob("*.parquet")):
            return _of_manifest(path, layer, truth)
        stacks = sorted(p for p in path.rglob("*.mha") if p.is_file())
        if stacks:
            return _of_stacks(stacks, path)
    return _of_folder(path, layer, truth)


def _meant(found: list[tuple[str, Item]], layer: str | None, path: Path, truth: bool) -> str:
    """Layer that is asked for, or the only one that can be meant."""
    names = sorted({name for name, _ in found})
    if layer is not None and layer not in names:
        raise ManifestError(f"{path}: no layer {layer!r}; it holds {', '.join(names)}")
    meant = [name for name in names if (name == ANNOTATED) == truth] or names
    if layer is None and len(meant) > 1:
        raise ManifestError(f"{path}: several layers, {', '.join(names)}: say which one")
    return layer or meant[0]


def _of_layer(found: list[tuple[str, Item]], chosen: str, path: Path) -> dict[str, Item]:
    """Items by VOI from (layer, item), those of one layer alone."""
    items: dict[str, Item] = {}
    for name, item in found:
        if name != chosen:
            continue
        first = items.setdefault(item.voi_id, item)
        if first is not item and not _same_bytes(first.path, item.path):
            raise ManifestError(
                f"{path}: two masks of {item.voi_id}, {first.path.name} in "
                f"{first.path.parent.name} and in {item.path.parent.name}; give the folder of one"
            )
    return items


def _same_bytes(one: Path, other: Path) -> bool:
    # A file that lies there twice is one mask.
    try:
        return one == other or cmp(one, other, shallow=False)
    except OSError:
        return False


def _of_manifest(path: Path, layer: str | None, truth: bool) -> Collection:
    rows: list[tuple[Row, Path]] = [
        (row, file)
        for file in manifest_files(path)
        for row in read_table(file, list(_COLUMNS)).to_pylist()
    ]
    choice = Choice(row for row, _ in rows)
    found = []
    for row, file in rows:
        if choice.counts(row) and row["label_path"] is not None:
            name = row["layer"] if layer == CORRECTED else layer_of(row)
            found.append((name or "", _of_row(row, file)))
    if not found:
        raise ManifestError(f"{path}: no row that is ok and has a mask")
    chosen = _meant(found, layer, path, truth)
    ellipsoids: dict[str, Item] = {}
    for row, file in rows:
        if layer_of(row) == chosen and choice.why_not(row) is None and has_least(row):
            item = replace(_of_row(row, file), lines=row)
            ellipsoids.setdefault(item.voi_id, item)
    return Collection(_of_layer(found, chosen, path), ellipsoids=ellipsoids)


def _of_row(row: Row, file: Path) -> Item:
    return Item(
        voi_id=str(row["voi_id"]),
        lesion=lesion_of(row),
        sample=row["sample_index"] or 0,
        path=voi_file(file, row["label_path"] or file.name),
        source=row["source"],
        patient=row["patient_id"] or row["case_id"],
        lesion_type=row["lesion_type"] or "unknown",
        affine=None if row["affine"] is None else np.array(row["affine"]).reshape(4, 4),
    )


def _of_folder(folder: Path, layer: str | None, truth: bool) -> Collection:
    names = Names("auto")
    found = [
        (entry.layer or "", _named(_name(names, entry.voi_id), entry.voi_id, folder / entry.label))
        for entry in entries(folder)
        if entry.label is not None
    ]
    if not found:
        raise ManifestError(f"{folder}: no mask; files below folders called images are images")
    return Collection(_of_layer(found, _meant(found, layer, folder, truth), folder))


def _name(names: Names, voi_id: str) -> Name:
    try:
        return names.read(voi_id)
    except CaseError:
        return _OWN.read(voi_id)


def _named(name: Name, voi_id: str, path: Path) -> Item:
    recipe = name.recipe
    source = recipe.source if recipe else "unknown"
    return Item(
        voi_id=voi_id,
        lesion=(source, name.case_id, name.lesion_index),
        sample=name.sample_index or 0,
        path=path,
        source=source,
        patient=(recipe.patient_of(name.case_id) if recipe else None) or name.case_id,
        lesion_type=recipe.lesion_type.value if recipe else "unknown",
    )


def _of_stacks(stacks: list[Path], folder: Path) -> Collection:
    items: dict[str, Item] = {}
    counted, pairs = None, None
    try:
        for path in stacks:
            items |= {item.voi_id: item for item in _stacked(path, folder, len(stacks) > 1)}
        if (folder / SINGLE).is_file() and len(stacks) == 1:
            listed = list(items)
            counted = frozenset(listed[_index(at)] for at in read_json(folder / SINGLE))
            pairs = tuple(_pairs(folder, listed)) if (folder / MULTI).is_file() else ()
    except CaseError as error:
        raise ManifestError(f"{folder}: {error.detail}") from error
    except (TypeError, ValueError, LookupError) as error:
        raise ManifestError(
            f"{folder}: {SINGLE} or {MULTI} does not fit the stack: {error}"
        ) from error
    return Collection(items, counted, pairs)


def _stacked(path: Path, folder: Path, several: bool) -> Iterator[Item]:
    count = len(Stack(path))
    names = next(
        (
            [str(name) for name in read_json(beside / VOI_NAMES)]
            for beside in (path.parent, folder)
            if (beside / VOI_NAMES).is_file()
        ),
        [],
    )
    known = Names("auto")
    for number in range(count):
        voi_id = names[number] if len({*names}) == count else f"{number:03d}"
        name = _name(known, voi_id)
        if several:
            voi_id = f"{path.stem}/{voi_id}"
        item = _named(name, voi_id, path)
        yield replace(item, number=number)


def _pairs(folder: Path, listed: list[str]) -> Iterator[tuple[Pair, ...]]:
    """Pairs of `multi_sample.json`, lesion by lesion, with the spacing of each first VOI."""
    spacings = read_spacings(folder / STACKED_SPACINGS, len(listed))
    for lesion in read_json(folder / MULTI):
        found = []
        for one, other, (x, y, z) in lesion:
            offset = (float(x), float(y), float(z))
            if not all(abs(mm) < _FAR_MM for mm in offset):
                raise ValueError(f"{offset} is not a translation in mm")
            a, b = _index(one), _index(other)
            found.append(Pair(listed[a], listed[b], offset, spacings[a]))
        yield tuple(found)


def _index(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not an index of a stack")
    return value
