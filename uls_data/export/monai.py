"""MONAI's datalist: one JSON file that names the VOIs where they are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from uls_data.errors import SourceError
from uls_data.export.dataset import FOLDS, DatasetExport, choose
from uls_data.io import write_bytes
from uls_data.manifest.by_axis import spacing_of
from uls_data.manifest.example import Example
from uls_data.manifest.patients import patient_key
from uls_data.manifest.row import Column
from uls_data.outcome import Reason

FILE = "dataset.json"
_TOLD: tuple[Column, ...] = (
    *("voi_id", "source", "case_id", "lesion_index", "sample_index", "layer", "lesion_type"),
    *("supervision", "key_slice_voi", "pad_value_hu", "long_axis_mm"),
)


def export_monai(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    layers: Collection[str] = (),
    weak: bool = False,
    folds: int = FOLDS,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> DatasetExport:
    """Write VOIs as a datalist in the format of the Medical Segmentation Decathlon.

    `training` holds the VOIs to train on, each with its `fold`; `validation` those of held-out
    patients. Paths are relative to the list's folder; no file is copied.

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds with images.
    to : path
        Folder; the list is `dataset.json` in it.
    layers : collection of str
        Of the masks; default: the best of each VOI, as for training.
    weak : bool
        Whether masks of one slice are listed; only their `key_slice_voi` is known.
    folds : int
        Folds of the training part; a patient's VOIs share one.

    Raises
    ------
    ManifestError, SourceError
        Nothing to train on, a fold without a patient, or the list cannot be written.
    """
    if folds < 2:
        raise SourceError(f"--folds {folds}: expected 2 or more")
    dataset = choose(manifest, layers=layers, weak=weak, folds=folds)
    to = Path(to)
    if started is not None:
        started(len(dataset.train) + len(dataset.heldout))
    failed: list[dict[str, Any]] = []
    parts: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    for part, examples in zip(parts.values(), (dataset.train, dataset.heldout), strict=True):
        for example in examples:
            files = (example.image, example.label)
            missing = [p.name for p in files if not p.is_file() or p.suffix == ".zip"]
            if missing:
                detail = f"{missing[0]}: no such file, or a zip, which MONAI cannot read"
                reason = Reason.IO_ERROR.value
                failed.append({"voi_id": example.row["voi_id"], "reason": reason, "detail": detail})
            else:
                item = _item(example, to)
                if part is parts["training"]:
                    item["fold"] = dataset.fold(example)
                part.append(item)
            if progress is not None:
                progress(1)
    content = {
        "name": "ULS",
        "description": "Click-centred volumes of interest of lesions in CT, by uls-data",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "lesion"},
        "numTraining": len(parts["training"]),
        "numValidation": len(parts["validation"]),
        **parts,
    }
    path = to / FILE
    try:
        write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise SourceError(f"--to {to}: cannot be written: {error.strerror}") from error
    counts = (len(parts["training"]), len(parts["validation"]))
    return DatasetExport(path, *counts, failed, dataset.left_out)


def _item(example: Example, to: Path) -> dict[str, Any]:
    row = example.row
    image, label = (
        Path(os.path.relpath(path.resolve(), to.resolve())).as_posix()
        for path in (example.image, example.label)
    )
    return {
        "image": image,
        "label": label,
        **{name: row[name] for name in _TOLD},
        "patient": patient_key(row),
        "spacing_mm": list(spacing_of(row)),
    }
