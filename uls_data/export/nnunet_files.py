"""What both forms of nnU-Net's dataset are made of: files of a VOI, and lists."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, SourceError
from uls_data.export.common import put
from uls_data.export.dataset import Dataset
from uls_data.export.sample import affine_of
from uls_data.geometry import Affine, orientation_to_ras, spacing_mm
from uls_data.io import atomic_write, write_bytes
from uls_data.manifest.archive import opened
from uls_data.manifest.example import Example
from uls_data.nifti_writer import nifti_gz
from uls_data.outcome import Reason, Supervision
from uls_data.voi import VOI_SHAPE, hounsfield
from uls_data.volumes import Volume, read_volume
from uls_data.volumes.nifti import read_gzipped

WEAK = ("leave-out", "ignore", "background")
IGNORE = 2
ENDING = ".nii.gz"
_INT16 = np.iinfo(np.int16)


def image_of(example: Example) -> NDArray[np.integer]:
    """HU of a VOI, shape (256, 256, 128), [x, y, z].

    Raises
    ------
    CaseError
        The file is missing, unreadable, or no VOI.
    """
    volume = _read(example.image)
    return hounsfield(volume.ras, volume.slope, volume.intercept)[0]


def label_of(example: Example, weak: str) -> NDArray[np.uint8]:
    """Label of a VOI, shape (256, 256, 128), [x, y, z], uint8.

    1 is lesion. With `weak` = `ignore`, 2 is what nobody annotated of a mask of one slice.

    Raises
    ------
    CaseError
        The file is missing, unreadable, or no VOI.
    """
    return _marked(_read(example.label).ras, example, weak)


def _marked(stored: NDArray[Any], example: Example, weak: str) -> NDArray[np.uint8]:
    mask = np.asfortranarray(stored != 0).view(np.uint8)
    if not _is_partly(example, weak):
        return mask
    voxels = np.full(VOI_SHAPE, IGNORE, np.uint8, order="F")
    seen = mask.any(axis=(0, 1))
    voxels[:, :, seen] = mask[:, :, seen]
    return voxels


def put_image(example: Example, target: Path, link: bool) -> None:
    """Place the file of an image; one that is no .nii.gz of whole numbers in RAS is converted.

    Raises
    ------
    CaseError
        The file is missing, unreadable, or no VOI.
    """
    hu = image_of(example)  # a damaged file is not passed on, though its header is whole
    if _is_plain(example.image):
        _put(example.image, target, link)
        return
    fits = _INT16.min <= hu.min() and hu.max() <= _INT16.max
    voxels: NDArray[np.integer] = np.asfortranarray(hu, np.int16 if fits else np.int32)
    write_bytes(target, nifti_gz(voxels, affine_of(example)))


def put_label(example: Example, target: Path, weak: str, link: bool) -> None:
    """Place the file of a label; one that is no .nii.gz of 0 and 1 in RAS is converted.

    Raises
    ------
    CaseError
        The file is missing, unreadable, or no VOI.
    """
    stored = _read(example.label).ras
    label = _marked(stored, example, weak)
    if _is_plain(example.label) and np.array_equal(stored, label):
        _put(example.label, target, link)
    else:
        write_bytes(target, nifti_gz(label, affine_of(example)))


def voxel_size(affine: Affine) -> list[float]:
    """Voxel size in mm, z, y, x, as the header of an image of this affine has it (float32)."""
    return [float(np.float32(mm)) for mm in spacing_mm(affine)[::-1]]


def dataset_json(name: str, weak: str, training: int) -> dict[str, Any]:
    """Content of `dataset.json`."""
    labels = {"background": 0, "lesion": 1}
    if weak == "ignore":
        labels["ignore"] = IGNORE
    return {
        "name": name,
        "description": "Click-centred volumes of interest of lesions in CT, by uls-data",
        "channel_names": {"0": "CT"},
        "labels": labels,
        "numTraining": training,
        "file_ending": ENDING,
    }


def splits_json(dataset: Dataset, written: Sequence[Example]) -> list[dict[str, list[str]]]:
    """Content of `splits_final.json`: what trains and what validates in each fold."""
    folds = [(str(example.row["voi_id"]), dataset.fold(example)) for example in written]
    return [
        {
            "train": [name for name, its in folds if its != fold],
            "val": [name for name, its in folds if its == fold],
        }
        for fold in range(dataset.folds)
    ]


def write_json(path: Path, content: Any) -> None:
    """Write JSON as people read it."""
    put(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _is_partly(example: Example, weak: str) -> bool:
    return weak == "ignore" and example.row["supervision"] == Supervision.WEAK_2D


def _put(source: Path, target: Path, link: bool) -> None:
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
    """Whether a file that was read before is such as nnU-Net reads."""
    if not path.name.endswith(ENDING):
        return False
    image = nibabel.load(path)
    whole = image.shape == VOI_SHAPE and image.get_data_dtype().kind in "iu"
    return bool(whole and orientation_to_ras(image.affine).is_ras)


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
