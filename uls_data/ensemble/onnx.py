"""Segmentation models of others as members: whatever exports to ONNX and takes a prompt.

The contract, by the names of the model's inputs; each but `image` is optional:

==========  =======  ================  ==================================================
input       type     shape             content
==========  =======  ================  ==================================================
image       float32  (1, 1, z, y, x)   HU; a model that wants other values scales them
spacing_mm  float32  (1, 3)            z, y, x
key_slice   int64    (1,)              index z in `image` of the slice with the lines
box         float32  (1, 4)            x0, y0, x1, y1 in `image` about the lines' ends
lines       float32  (1, 4, 2)         x, y in `image` of both ends of long and short axis
==========  =======  ================  ==================================================

The first output, of the shape of `image`, is above 0 where lesion is. Arrays are VOIs transposed:
RAS, so that z goes to the head, y to the front and x to the right with rising index. Where the
model fixes the size of `image`, that much about the click is shown to it; beyond a VOI it sees
-1024 HU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.ensemble.subject import Subject
from uls_data.errors import UlsDataError
from uls_data.voi import CENTRE, VOI_SHAPE

_AIR_HU = -1024.0
_LARGEST = 1024  # voxels of an axis; a VOI has 256
_INPUTS = ("image", "spacing_mm", "key_slice", "box", "lines")
_NEEDS_LINES = {"key_slice", "box", "lines"}


@dataclass(frozen=True)
class OnnxMember:
    """A model in an ONNX file; needs onnxruntime (`pip install 'uls-data[onnx]'`).

    Attributes
    ----------
    path : Path
    name : str
        Of the layer that it makes; default: the file's.
    threads : int
    """

    path: Path
    name: str = ""
    threads: int = 1
    needs: frozenset[str] = field(default=frozenset({"image", "onnxruntime"}))

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.stem)

    @cached_property
    def session(self) -> Any:
        """The model, loaded.

        Raises
        ------
        UlsDataError
            onnxruntime is not installed, or the file is no such model.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise UlsDataError(
                f"{self.path}: ONNX models need onnxruntime: pip install 'uls-data[onnx]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        try:
            session = onnxruntime.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UlsDataError(f"{self.path}: not a readable ONNX model: {error}") from error
        names = [one.name for one in session.get_inputs()]
        unknown = [name for name in names if name not in _INPUTS]
        if unknown or "image" not in names:
            raise UlsDataError(
                f"{self.path}: inputs {', '.join(names)}; expected image and any of "
                f"{', '.join(_INPUTS[1:])}"
            )
        shape = session.get_inputs()[names.index("image")].shape
        if len(shape) != 5 or any(isinstance(n, int) and not 0 < n <= _LARGEST for n in shape):
            raise UlsDataError(
                f"{self.path}: image of shape {shape}; expected (1, 1, z, y, x), at most "
                f"{_LARGEST} each"
            )
        return session

    def mask(self, subject: Subject) -> NDArray[np.bool_] | None:
        """Mask in 3D, shape (256, 256, 128); None where it needs lines and there are none.

        Raises
        ------
        CaseError
            The image cannot be read.
        UlsDataError
            See `session`; or the model cannot be run, or its output has another shape than the
            image.
        """
        inputs = {one.name: one for one in self.session.get_inputs()}
        lines, key_slice = subject.lines, subject.key_slice
        if _NEEDS_LINES & inputs.keys() and (lines is None or key_slice is None):
            return None
        size = [
            n if isinstance(n, int) else whole
            for n, whole in zip(inputs["image"].shape[2:], VOI_SHAPE[::-1], strict=True)
        ]
        # Of the crop in the VOI, x, y, z.
        start = [at - n // 2 for at, n in zip(CENTRE, size[::-1], strict=True)]
        ours, theirs = _overlap(start, size[::-1])
        shown = np.full(size[::-1], _AIR_HU, np.float32)
        shown[ours] = subject.hu[theirs]
        x, y, z = subject.spacing_mm or (1.0, 1.0, 1.0)
        values: dict[str, NDArray[Any]] = {
            "image": np.ascontiguousarray(shown.T)[None, None],
            "spacing_mm": np.array([[z, y, x]], np.float32),
        }
        if lines is not None and key_slice is not None:
            points = (lines.points - start[:2]).astype(np.float32)
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
            values |= {
                "key_slice": np.array([key_slice - start[2]], np.int64),
                "box": box[None],
                "lines": points[None],
            }
        try:
            found = self.session.run(None, {name: values[name] for name in inputs})[0]
        except Exception as error:  # of onnxruntime, which is not ours
            raise UlsDataError(f"{self.path}: the model cannot be run: {error}") from error
        if np.shape(found) != values["image"].shape:
            raise UlsDataError(
                f"{self.path}: expected an output of {values['image'].shape}, found "
                f"{np.shape(found)}"
            )
        mask = np.zeros(VOI_SHAPE, bool, order="F")
        mask[theirs] = found[0, 0].T[ours] > 0
        inside = np.zeros(VOI_SHAPE, bool, order="F")
        inside[subject.scan] = True
        return mask & inside


def _overlap(start: list[int], size: list[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a crop and the VOI meet: in the crop, and in the VOI."""
    ours, theirs = [], []
    for at, n, whole in zip(start, size, VOI_SHAPE, strict=True):
        low, high = max(at, 0), min(at + n, whole)
        ours.append(slice(low - at, high - at))
        theirs.append(slice(low, high))
    return tuple(ours), tuple(theirs)
