"""Rows of manifests with the folders that their paths start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from uls_data.errors import ManifestError
from uls_data.manifest.choice import voi_of
from uls_data.manifest.parquet import manifest_files, read_table
from uls_data.manifest.paths import above, voi_file
from uls_data.manifest.row import Row
from uls_data.outcome import Status, Supervision
from uls_data.voi import VOI_SHAPE

_SLICES = ("key_slice_voi", "long_axis_slice_voi")
_POINTS = {"long_axis_points_vox": 4, "short_axis_points_vox": 4, "recist_points_vox": 8}


@dataclass(frozen=True)
class Example:
    """One VOI with one mask.

    Attributes
    ----------
    root : Path
        Folder that the row's paths start from.
    row : dict
        Those columns of the manifest that were asked for.
    image_root : Path or None
        Folder that `image_path` starts from, where it is another one: layers that were made
        outside a build leave the images where they are.
    """

    root: Path
    row: Row
    image_root: Path | None = None

    @property
    def identity(self) -> tuple[str, str, int, int, str]:
        """Source, case, lesion, sample and layer: the manifest's key.

        Raises
        ------
        ManifestError
            The row has a mask and lacks a number that every mask has.
        """
        row = self.row
        lesion, sample = row["lesion_index"], row["sample_index"]
        if lesion is None or sample is None:
            raise ManifestError(
                f"{row['source']} {row['voi_id']}: a row of a mask without lesion_index or "
                "sample_index; was the manifest edited?"
            )
        return row["source"], row["case_id"], lesion, sample, row["layer"]

    @property
    def image(self) -> Path:
        """File of the image; the row has one."""
        return (self.image_root or self.root) / str(self.row["image_path"])

    @property
    def label(self) -> Path:
        """File of the mask; the row has one."""
        return self.root / str(self.row["label_path"])

    @property
    def lesion(self) -> str:
        """Key of the lesion, whatever the click and the layer."""
        source, case, lesion, _, _ = self.identity
        return f"{source}/{case}/{lesion}"


def read_examples(
    manifests: str | Path | Sequence[str | Path],
    columns: Sequence[str] | None = None,
    filters: Any = None,
) -> Iterator[Example]:
    """Rows of manifests, in their order.

    Parameters
    ----------
    columns : sequence of str, optional
        Only these.
    filters : pyarrow expression, optional
        Only the rows that it holds of.

    Raises
    ------
    ManifestError
        Not manifests, no such column, or a slice or point that no VOI has.
    """
    for file in manifest_files(manifests):
        table = read_table(file, columns, filters)
        _check_places(table, file)
        rows: list[Row] = table.to_pylist()
        root = _root_of(file, rows)
        for row in rows:
            yield Example(root, row)


def _check_places(table: pa.Table, path: Path) -> None:
    """Refuse slices and points that no VOI has, for voxels are looked up with them."""
    names = set(table.column_names)
    for name in sorted(names.intersection(_SLICES)):
        some = table
        if name == "key_slice_voi" and "supervision" in names:
            # A reader may have measured beyond the VOI; a mask on one slice lies there.
            solid = pc.equal(table["supervision"], Supervision.PSEUDO_3D.value)
            some = table.filter(pc.invert(pc.fill_null(solid, False)))
        if "status" in names:
            some = some.filter(pc.equal(some["status"], Status.OK.value))
        for number in pc.min_max(some[name]).as_py().values():
            if number is not None and not 0 <= number < VOI_SHAPE[2]:
                expected = f"slices 0 to {VOI_SHAPE[2] - 1}"
                raise ManifestError(f"{path}: column {name}: expected {expected}, found {number}")
    for name in sorted(_POINTS.keys() & names):
        finite = pc.all(pc.is_finite(pc.list_flatten(table[name]))).as_py()
        lengths = set(pc.unique(pc.list_value_length(table[name])).to_pylist())
        if finite is False or lengths - {None, 0, _POINTS[name]}:
            expected = f"{_POINTS[name]} finite numbers or null"
            raise ManifestError(f"{path}: column {name}: expected {expected} in every row")


def _root_of(manifest: Path, rows: Sequence[Row]) -> Path:
    """Folder that the paths of a manifest start from: its OUT, or its own."""
    names = (name for row in rows for name in (row.get("label_path"), row.get("image_path")))
    name = next((name for name in names if name is not None), None)
    if (
        name is not None
        and not Path(name).is_absolute()
        and (path := voi_file(manifest, name)).is_file()
    ):
        return path.parents[len(Path(name).parts) - 1]
    folder = manifest.absolute().parent
    return above(manifest) if folder.name == "manifest" else manifest.parent


def with_images(examples: Sequence[Example]) -> Iterator[Example]:
    """Rows without an image get that of another row of their VOI, if it is the very same."""
    images: dict[tuple[Any, ...], Example] = {}
    for example in examples:
        if example.row["image_path"]:
            images.setdefault(_image_of(example), example)
    for example in examples:
        other = images.get(_image_of(example))
        if other is None or example.row["image_path"] or example.row["label_path"] is None:
            yield example
        else:
            row: Row = {**example.row, "image_path": other.row["image_path"]}
            yield Example(example.root, row, other.image_root or other.root)


def _image_of(example: Example) -> tuple[Any, ...]:
    row = example.row
    return (*voi_of(row), row["image_voxels_sha256"])
