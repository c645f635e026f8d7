"""MONAI's datalist: one JSON file that names the VOIs where they are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from uls_data.errors import CaseError, SourceError
from uls_data.export.common import failure
from uls_data.export.dataset import FOLDS, DatasetExport, choose, priors
from uls_data.export.sample import described
from uls_data.io import write_bytes, writing_to
from uls_data.manifest.example import Example
from uls_data.outcome import Reason

FILE = "dataset.json"


def export_monai(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    layers: Collection[str] = (),
    certified: bool = False,
    weak: bool = False,
    pairs: bool = False,
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
    certified : bool
        Of pseudo-masks take only those that a certificate keeps (`certify --manifest-out`).
    weak : bool
        Whether masks of one slice are listed; only their `key_slice_voi` is known.
    pairs : bool
        List each lesion that is followed with its previous study, as one item: `prior_image`,
        `prior_label`, `prior_voi_id` and `days`; lesions without one are left out.
    folds : int
        Folds of the training part; a patient's VOIs share one.

    Raises
    ------
    ManifestError, SourceError
        Nothing to train on, a fold without a patient, or the list cannot be written.
    """
    dataset = choose(manifest, layers=layers, certified=certified, weak=weak, folds=folds)
    to = Path(to)
    if pairs and not priors(dataset.train):
        raise SourceError(
            "--pairs: no lesion to train on has a previous study: lesion_track_id and study_day "
            "tell which are one lesion, and when"
        )
    if started is not None:
        started(len(dataset.train) + len(dataset.heldout))
    failed: list[dict[str, Any]] = []
    parts: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    for part, examples in zip(parts.values(), (dataset.train, dataset.heldout), strict=True):
        prior_of = priors(examples) if pairs else {}
        for example in examples:
            if progress is not None:
                progress(1)
            prior = prior_of.get(example.identity)
            if pairs and prior is None:
                dataset.left_out["without a previous study of the lesion"] += 1
                continue
            files = [path for one in (example, prior) if one for path in (one.image, one.label)]
            missing = [p.name for p in files if not p.is_file() or p.suffix == ".zip"]
            if missing:
                detail = f"{missing[0]}: no such file, or a zip, which MONAI cannot read"
                failed.append(failure(example, CaseError(Reason.IO_ERROR, detail)))
            else:
                image, label = _paths(example, to)
                item = {"image": image, "label": label, **described(dataset, example)}
                part.append(item | (_prior(example, prior, to) if prior else {}))
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
    with writing_to(to):
        write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    counts = (len(parts["training"]), len(parts["validation"]))
    return DatasetExport(path, *counts, failed, dataset.left_out)


def _paths(example: Example, to: Path) -> list[str]:
    """Image and label, relative to the list's folder."""
    return [
        Path(os.path.relpath(path.resolve(), to.resolve())).as_posix()
        for path in (example.image, example.label)
    ]


def _prior(example: Example, prior: Example, to: Path) -> dict[str, Any]:
    """Columns of an item that belong to the study before it."""
    image, label = _paths(prior, to)
    before, now = prior.row["study_day"], example.row["study_day"]
    assert before is not None and now is not None
    return {
        "prior_image": image,
        "prior_label": label,
        "prior_voi_id": prior.row["voi_id"],
        "prior_long_axis_mm": prior.row["long_axis_mm"],
        "days": now - before,
        "lesion_track_id": example.row["lesion_track_id"],
    }
