"""Parquet files of whole samples, with Croissant metadata that describes them.

TO/train/00000.parquet, ...      a row a VOI: `image` and `label` (bytes of .nii.gz), and more
TO/heldout/00000.parquet, ...    held-out patients
TO/croissant.json                Croissant 1.0, with the SHA-256 of each file
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from uls_data._version import __version__
from uls_data.errors import CaseError
from uls_data.export.common import failure, refuse_others
from uls_data.export.dataset import FOLDS, Dataset, DatasetExport, choose
from uls_data.export.sample import affine_of, described
from uls_data.io import atomic_write, sha256_file, write_bytes, writing_to
from uls_data.manifest.example import Example
from uls_data.manifest.opened import voxels_of
from uls_data.nifti_writer import nifti_gz

FILE = "croissant.json"
ROWS_PER_FILE = 100
_ROWS_PER_GROUP = 8
_TEXT, _WHOLE, _NUMBER = "sc:Text", "sc:Integer", "sc:Float"
# Column, its type in Parquet and in Croissant, and what it holds.
_COLUMNS: tuple[tuple[str, pa.DataType, str, str], ...] = (
    ("image", pa.binary(), _TEXT, "HU, 256 x 256 x 128, RAS: bytes of a .nii.gz"),
    ("label", pa.binary(), _TEXT, "Mask of the lesion, 0 or 1, likewise"),
    ("voi_id", pa.string(), _TEXT, "Name of the volume of interest"),
    ("source", pa.string(), _TEXT, "Collection that the scan belongs to"),
    ("case_id", pa.string(), _TEXT, "Scan, as its collection calls it"),
    ("patient", pa.string(), _TEXT, "Patient, by the public name; one person has one"),
    ("lesion_index", pa.int32(), _WHOLE, "Number of the lesion in its scan, from 1"),
    ("sample_index", pa.int32(), _WHOLE, "Number of the click on the lesion, from 0"),
    ("layer", pa.string(), _TEXT, "What made the mask"),
    ("lesion_type", pa.string(), _TEXT, "Organ or kind"),
    ("supervision", pa.string(), _TEXT, "full, weak_2d or pseudo_3d"),
    ("key_slice_voi", pa.int32(), _WHOLE, "Slice that a mask of one slice knows"),
    ("pad_value_hu", pa.int32(), _WHOLE, "Value of voxels outside the scan"),
    ("long_axis_mm", pa.float64(), _NUMBER, "Longest axis on an axial slice, in mm"),
    ("spacing_x_mm", pa.float64(), _NUMBER, "Voxel size along x, in mm"),
    ("spacing_y_mm", pa.float64(), _NUMBER, "Voxel size along y, in mm"),
    ("spacing_z_mm", pa.float64(), _NUMBER, "Voxel size along z, in mm"),
    ("fold", pa.int32(), _WHOLE, "Of cross-validation, by patient; none of a held-out one"),
)
_SCHEMA = pa.schema([(name, kind) for name, kind, _, _ in _COLUMNS])
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def export_croissant(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    layers: Collection[str] = (),
    certified: bool = False,
    weak: bool = False,
    folds: int = FOLDS,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> DatasetExport:
    """Write VOIs as Parquet with Croissant metadata.

    Same VOIs, same bytes (by one version of Arrow).

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds with images.
    to : path
        Folder, which holds no other Parquet files.
    layers : collection of str
        Of the masks; default: the best of each VOI, as for training.
    certified : bool
        Of pseudo-masks take only those that a certificate keeps (`certify --manifest-out`).
    weak : bool
        Whether masks of one slice are taken; only their `key_slice_voi` is known.
    folds : int
        Folds of the training part; a patient's VOIs share one.

    Raises
    ------
    ManifestError, SourceError
        Nothing to train on, a fold without a patient, files of another export in the folder, or
        it cannot be written.
    """
    dataset = choose(manifest, layers=layers, certified=certified, weak=weak, folds=folds)
    to = Path(to)
    parts = {"train": dataset.train, "heldout": dataset.heldout}
    if started is not None:
        started(sum(map(len, parts.values())))
    failed: list[dict[str, Any]] = []
    counts = dict.fromkeys(parts, 0)
    written: dict[str, list[Path]] = {part: [] for part in parts}
    with writing_to(to):
        for part, examples in parts.items():
            files = range(-(-len(examples) // ROWS_PER_FILE))
            refuse_others(to / part, "*.parquet", {f"{number:05d}.parquet" for number in files})
            for at in range(0, len(examples), ROWS_PER_FILE):
                path = to / part / f"{at // ROWS_PER_FILE:05d}.parquet"
                some = examples[at : at + ROWS_PER_FILE]
                bad = _write_file(path, dataset, some, progress)
                failed += bad
                counts[part] += len(some) - len(bad)
                written[part].append(path)
        text = json.dumps(_metadata(to, written, counts), indent=1)
        write_bytes(to / FILE, f"{text}\n".encode())
    return DatasetExport(to / FILE, counts["train"], counts["heldout"], failed, dataset.left_out)


def _write_file(
    path: Path,
    dataset: Dataset,
    examples: Sequence[Example],
    progress: Callable[[int], None] | None,
) -> list[dict[str, Any]]:
    failed: list[dict[str, Any]] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    # The columns that are large are compressed already.
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(temporary, _SCHEMA, **options) as writer,
    ):
        for at in range(0, len(examples), _ROWS_PER_GROUP):
            rows = []
            for example in examples[at : at + _ROWS_PER_GROUP]:
                try:
                    rows.append(_row(dataset, example))
                except CaseError as error:
                    failed.append(failure(example, error))
                if progress is not None:
                    progress(1)
            writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    return failed


def _row(dataset: Dataset, example: Example) -> dict[str, Any]:
    image = voxels_of(example, "image_path")
    label = np.asfortranarray(voxels_of(example, "label_path") != 0)
    told, affine = described(dataset, example), affine_of(example)
    spacing = dict(zip("xyz", told.pop("spacing_mm"), strict=True))
    return {
        **told,
        **{f"spacing_{axis}_mm": mm for axis, mm in spacing.items()},
        "image": nifti_gz(image, affine),
        "label": nifti_gz(label.view(np.uint8), affine),
    }


def _metadata(to: Path, written: dict[str, list[Path]], counts: dict[str, int]) -> dict[str, Any]:
    files, sets = [], []
    for part, paths in written.items():
        for path in paths:
            name = path.relative_to(to).as_posix()
            files.append(
                {
                    "@type": "cr:FileObject",
                    "@id": name,
                    "name": name,
                    "contentUrl": name,
                    "contentSize": f"{path.stat().st_size} B",
                    "encodingFormat": "application/x-parquet",
                    "sha256": sha256_file(path),
                }
            )
            fields = [
                {
                    "@type": "cr:Field",
                    "@id": f"{name}/{column}",
                    "name": column,
                    "description": meaning,
                    "dataType": kind,
                    "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
                }
                for column, _, kind, meaning in _COLUMNS
            ]
            sets.append(
                {
                    "@type": "cr:RecordSet",
                    "@id": f"{part}-{path.stem}",
                    "name": f"{part}-{path.stem}",
                    "description": "To train on" if part == "train" else "Held-out patients",
                    "field": fields,
                }
            )
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "ULS",
        "description": "Click-centred volumes of interest of lesions in CT, by uls-data "
        f"{__version__}: {counts['train']} to train on, {counts['heldout']} held out",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": files,
        "recordSet": sets,
    }
