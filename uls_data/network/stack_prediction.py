"""Prediction from the challenge's stack, in the layout that its containers read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.geometry import Triple
from uls_data.manifest.row import Row
from uls_data.network.checkpoint import load_model
from uls_data.network.device import Precision, usable_device
from uls_data.network.inference import Answer, Predictor
from uls_data.network.lesion import find_lesion
from uls_data.network.plan import ModelError
from uls_data.network.sampling import read_ahead
from uls_data.network.voxels import CENTRE_ZYX, Region, voi_part
from uls_data.scoring.job import MASKS, Stack, read_spacings, writing
from uls_data.voi import VOI_SHAPE


def predict_stack(
    stack: str | Path,
    model: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    spacings: str | Path | None = None,
    tta: bool = False,
    device: str = "auto",
    precision: Precision = "auto",
    batch_size: int = 2,
    compiled: bool = False,
    workers: int = 2,
    started: Callable[[int, int], None] | None = None,
    progress: Callable[[int], None] | None = None,
    warned: Callable[[str], None] | None = None,
) -> Path:
    """Predict every VOI of a stack; a VOI without a lesion at its centre gets an empty mask.

    Parameters
    ----------
    stack : path
        `.mha` of 256 x 256 x (128 N) voxels (`uls_data.scoring.job`). Whole planes at a VOI's faces
        that hold nothing but its smallest value are taken for padding.
    model, tta, device, precision, batch_size, compiled, workers, started, progress, warned
        As for `predict`.
    out : path
        The mask is `images/ct-binary-uls/` and the stack's name.
    spacings : path, optional
        JSON of the VOIs' spacings; without it a voxel counts as 1 mm in the search about an
        empty centre.

    Returns
    -------
    Path
        Of the stacked mask.

    Raises
    ------
    ModelError, ManifestError
        The model, the stack or the spacings cannot be used.
    """
    loaded = load_model(model)
    if loaded.plan.prompt is not None:
        raise ModelError(f"{model}: needs a reader's lines, which a stack does not hold")
    path = Path(stack)
    try:
        vois = Stack(path)
        steps = read_spacings(Path(spacings), len(vois)) if spacings is not None else None
    except CaseError as error:
        raise ManifestError(f"{path}: {error.detail}") from error
    predictor = Predictor(
        loaded, usable_device(device), precision=precision, mirror=tta, compiled=compiled
    )
    crop = predictor.model.plan.crop

    def region(number: int) -> tuple[int, Region]:
        voi = vois[number]
        return number, voi_part(voi, padding_of(voi), crop)

    def mask(number: int, answer: Answer) -> NDArray[np.uint8]:
        step = (1.0, 1.0, 1.0) if steps is None else steps[number][::-1]
        return _mask(answer, crop, step)

    def masks(
        readers: ThreadPoolExecutor, writers: ThreadPoolExecutor
    ) -> Iterator[NDArray[np.uint8]]:
        regions = read_ahead(region, range(len(vois)), readers, 2 * workers + 2)
        answers = predictor.answers(regions, batch_size, halved)
        return read_ahead(lambda pair: mask(*pair), answers, writers, 2 * workers)

    def halved(limit: int) -> None:
        if warned is not None:
            warned(f"out of memory: continuing with {limit} VOIs on the device at once")

    if started is not None:
        started(len(vois), 0)
    target = Path(out) / MASKS / path.name
    with (
        writing(target, "uint8") as writer,
        ThreadPoolExecutor(max(1, workers), "read") as readers,
        ThreadPoolExecutor(max(1, workers), "mask") as writers,
    ):
        for found in masks(readers, writers):
            writer.put(found)
            if progress is not None:
                progress(1)
    return target


def padding_of(voi: NDArray[np.integer]) -> Row:
    """Find the padding of a VOI without a manifest: planes at its faces of its smallest value.

    Parameters
    ----------
    voi : ndarray, shape (256, 256, 128), [x, y, z]

    Returns
    -------
    dict
        `pad_before_x_vox` and the other five columns.
    """
    real = voi != voi.min()
    row: dict[str, int] = {}
    for axis, name in enumerate("xyz"):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(real.any(axis=others))
        low, high = (int(planes[0]), int(planes[-1])) if len(planes) else (0, voi.shape[axis] - 1)
        row[f"pad_before_{name}_vox"] = low
        row[f"pad_after_{name}_vox"] = voi.shape[axis] - 1 - high
    return cast(Row, row)


def _mask(answer: Answer, crop: Triple, spacing: tuple[float, ...]) -> NDArray[np.uint8]:
    mask = np.zeros(VOI_SHAPE, np.uint8, order="F")
    z, y, x = (n // 2 for n in crop)
    found = find_lesion(answer, (z, y, x), spacing)
    if found is not None:
        place = tuple(
            slice(part.start + at - n // 2, part.stop + at - n // 2)
            for part, at, n in zip(found.box, CENTRE_ZYX, crop, strict=True)
        )
        mask.T[place] = found.mask
    return mask
