"""nnU-Net v2's raw dataset, with folds by patient.

DatasetNNN_NAME/imagesTr/<voi_id>_0000.nii.gz, labelsTr/<voi_id>.nii.gz
DatasetNNN_NAME/imagesTs/..., labelsTs/...      held-out patients
DatasetNNN_NAME/dataset.json
DatasetNNN_NAME/splits_final.json               for nnUNet_preprocessed/DatasetNNN_NAME
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from uls_data.errors import CaseError, SourceError
from uls_data.export.common import failure, refuse_others, writing_to
from uls_data.export.dataset import FOLDS, DatasetExport, choose
from uls_data.geometry import Affine
from uls_data.io import atomic_write, write_bytes
from uls_data.manifest.archive import opened
from uls_data.manifest.example import Example
from uls_data.nifti_writer import nifti_gz
from uls_data.outcome import Reason, Supervision
from uls_data.voi import VOI_SHAPE
from uls_data.volumes import Volume, read_volume
from uls_data.volumes.nifti import read_gzipped

WEAK = ("leave-out", "ignore", "background")
_IGNORE = 2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def export_nnunet(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    number: int = 100,
    name: str = "ULS",
    layers: Collection[str] = (),
    weak: str = "leave-out",
    folds: int = FOLDS,
    link: bool = False,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> DatasetExport:
    """Write VOIs as a raw dataset of nnU-Net v2.

    The same call again continues an interrupted one.

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds with images.
    to : path
        What nnU-Net calls `nnUNet_raw`; the dataset is a folder in it.
    number, name
        Of the dataset: `Dataset100_ULS`.
    layers : collection of str
        Of the masks; default: the best of each VOI, as for training.
    weak : str
        Masks of one slice: `leave-out`; `ignore`: all other slices get the label that nnU-Net's
        loss leaves out; `background`: they are written as they are.
    folds : int
        Of `splits_final.json`; a patient's VOIs share one.
    link : bool
        Hard links to the build's files instead of copies.

    Raises
    ------
    ManifestError, SourceError
        Nothing to train on, a fold without a patient, other files in the dataset's folder, or it
        cannot be written.
    """
    if not _NAME.fullmatch(name) or not 1 <= number <= 999:
        raise SourceError(f"--id {number} --name {name}: expected 1 to 999 and a word")
    if weak not in WEAK:
        raise SourceError(f"--weak {weak}: expected {', '.join(WEAK)}")
    dataset = choose(manifest, layers=layers, weak=weak != "leave-out", folds=folds)
    folder = Path(to) / f"Dataset{number:03d}_{name}"
    parts = {"Tr": dataset.train, "Ts": dataset.heldout}
    if started is not None:
        started(sum(map(len, parts.values())))
    failed: list[dict[str, Any]] = []
    written: dict[str, list[Example]] = {}
    with writing_to(to):
        _refuse_others(folder, parts)
        for part, examples in parts.items():
            written[part] = []
            for example in examples:
                try:
                    _write(example, folder, part, weak, link)
                    written[part].append(example)
                except CaseError as error:
                    failed.append(failure(example, error))
                if progress is not None:
                    progress(1)
        labels = {"background": 0, "lesion": 1}
        if weak == "ignore":
            labels["ignore"] = _IGNORE
        content = {
            "name": name,
            "description": "Click-centred volumes of interest of lesions in CT, by uls-data",
            "channel_names": {"0": "CT"},
            "labels": labels,
            "numTraining": len(written["Tr"]),
            "file_ending": ".nii.gz",
        }
        splits = [
            {
                "train": [e.row["voi_id"] for e in written["Tr"] if dataset.fold(e) != fold],
                "val": [e.row["voi_id"] for e in written["Tr"] if dataset.fold(e) == fold],
            }
            for fold in range(folds)
        ]
        _write_json(folder / "splits_final.json", splits)
        _write_json(folder / "dataset.json", content)
    counts = (len(written["Tr"]), len(written["Ts"]))
    return DatasetExport(folder, *counts, failed, dataset.left_out)


def _refuse_others(folder: Path, parts: dict[str, list[Example]]) -> None:
    """Refuse VOIs of another export, which nnU-Net would take for part of this one."""
    for part, examples in parts.items():
        for kind, ending in (("images", "_0000.nii.gz"), ("labels", ".nii.gz")):
            names = {f"{example.row['voi_id']}{ending}" for example in examples}
            refuse_others(folder / f"{kind}{part}", "*", names)


def _write(example: Example, folder: Path, part: str, weak: str, link: bool) -> None:
    image, label = example.image, example.label
    name = example.row["voi_id"]
    images, labels = (
        folder / f"images{part}" / f"{name}_0000.nii.gz",
        folder / f"labels{part}" / f"{name}.nii.gz",
    )
    try:
        _put(image, images, link)
        if weak == "ignore" and example.row["supervision"] == Supervision.WEAK_2D:
            voxels = np.full(VOI_SHAPE, _IGNORE, np.uint8, order="F")
            mask = _read(label).ras != 0
            seen = mask.any(axis=(0, 1))
            voxels[:, :, seen] = mask[:, :, seen]
            write_bytes(labels, nifti_gz(voxels, _affine(example)))
        else:
            _put(label, labels, link, example)
    except CaseError:
        # nnU-Net takes every image that it finds for one with a label.
        images.unlink(missing_ok=True)
        labels.unlink(missing_ok=True)
        raise


def _put(source: Path, target: Path, link: bool, label_of: Example | None = None) -> None:
    """Place a file; a label that nnU-Net cannot read as it is, is converted."""
    if label_of is not None and not _is_plain(source):
        mask = np.asfortranarray(_read(source).ras != 0).view(np.uint8)
        write_bytes(target, nifti_gz(mask, _affine(label_of)))
        return
    if not _is_plain(source):
        raise CaseError(Reason.VOI_SHAPE, f"{source.name}: expected a .nii.gz of {VOI_SHAPE}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        if not (target.exists() and target.samefile(source)):
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(source.resolve())
            except OSError as error:
                raise SourceError(
                    f"{target}: cannot be linked to {source} ({error.strerror}); leave --link out"
                ) from error
    else:
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)


def _is_plain(path: Path) -> bool:
    if not path.name.endswith(".nii.gz"):
        return False
    try:
        image = nibabel.load(path)
        return bool(image.shape == VOI_SHAPE and image.get_data_dtype().kind in "iu")
    except FileNotFoundError as error:
        raise CaseError(Reason.IO_ERROR, f"{path.name}: no such file") from error
    except Exception as error:
        # On damaged headers nibabel raises whatever its own code trips over.
        raise CaseError(Reason.UNREADABLE, f"{path.name}: {error}") from error


def _read(path: Path) -> Volume:
    try:
        if path.suffix == ".zip":
            with opened(path) as (file, size):
                volume = read_gzipped(file, path.name, size)
        else:
            volume = read_volume(path, path.parent)
    except OSError as error:
        raise CaseError(Reason.IO_ERROR, f"{path.name}: {error.strerror}") from error
    if volume.ras.shape != VOI_SHAPE:
        raise CaseError(Reason.VOI_SHAPE, f"{path.name}: expected {VOI_SHAPE}")
    return volume


def _affine(example: Example) -> Affine:
    """Affine of the image, which its label shares to the last bit."""
    return np.asarray(nibabel.load(example.image).affine, np.float64)


def _write_json(path: Path, content: Any) -> None:
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
