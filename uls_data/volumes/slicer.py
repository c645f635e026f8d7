"""Segmentations of 3D Slicer (.seg.nrrd): named segments, which may overlap, in layers.

Segments that do not overlap share a layer and differ in their value there. With several layers a
voxel has one value for each, and the layers are the first axis. Which layer and value a segment
has stands in notes of the header (`Segment0_Layer:=1`); files of Slicer before 4.11 lack them and
have a layer for each segment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.volumes.header_text import shown, unreadable
from uls_data.volumes.itk import volume_of
from uls_data.volumes.metaheader import read_header
from uls_data.volumes.volume import Volume

_NOTE = re.compile(r"Segment([0-9]{1,6})_(Name|ID|Layer|LabelValue)", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True)
class NamedSegment:
    """One segment as the header describes it.

    Attributes
    ----------
    number : int
        0-based, as in the header's notes.
    name : str
        Free text, which may hold anything.
    layer : int
        0-based.
    value : int
        Of its voxels in that layer.
    """

    number: int
    name: str
    layer: int
    value: int


@dataclass(frozen=True)
class SlicerSegmentation:
    """A segmentation of 3D Slicer.

    Attributes
    ----------
    segments : tuple of NamedSegment
        By number.
    sha256 : str
        Of the file.
    """

    segments: tuple[NamedSegment, ...]
    sha256: str
    _volume: Volume
    _layers: NDArray[Any]

    def mask(self, segments: tuple[NamedSegment, ...], value: int = 1) -> Volume:
        """Voxels of some segments together, as a mask of uint8 on the file's grid."""
        mask = np.zeros(self._layers.shape[1:], dtype=np.uint8, order="F")
        for one in segments:
            mask[self._layers[one.layer] == one.value] = value
        return replace(self._volume, stored=mask)


def read_slicer(path: Path, root: Path) -> SlicerSegmentation:
    """Read a .seg.nrrd; see `uls_data.volumes.read.read_segments`."""
    header = read_header(path, layered=True)
    segments = segments_of(header.notes, header.values, path.name)
    volume = volume_of(header, path, root)
    layers = volume.stored if header.values > 1 else volume.stored[np.newaxis]
    first = replace(volume, stored=layers[0])
    return SlicerSegmentation(segments, volume.sha256, first, layers)


def segments_of(notes: Mapping[str, str], layers: int, name: str) -> tuple[NamedSegment, ...]:
    """Segments that the notes of a header describe, by number.

    Parameters
    ----------
    layers : int
        How many the file has.

    Raises
    ------
    CaseError
        `annotation_mismatch`: there is none; `unreadable`: no such layer or value.
    """
    told: dict[int, dict[str, str]] = {}
    for key, value in notes.items():
        if match := _NOTE.fullmatch(key):
            told.setdefault(int(match[1]), {})[match[2]] = value
    if not told:
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"{name}: expected a segmentation of 3D Slicer with named segments, its header names "
            "none; save it as .seg.nrrd, or leave reader.segments out of the recipe",
        )
    found = []
    for rank, number in enumerate(sorted(told)):
        note = told[number]
        layer = _whole(note, "Layer", rank if layers > 1 else 0, number, name)
        label = _whole(note, "LabelValue", 1, number, name)
        if layer >= layers or label == 0:
            raise unreadable(
                name,
                f"segment {number} has layer {layer} of {layers} and value {label}; save it again",
            )
        found.append(NamedSegment(number, note.get("Name", note.get("ID", "")), layer, label))
    return tuple(found)


def _whole(note: Mapping[str, str], key: str, default: int, number: int, name: str) -> int:
    text = note.get(key, str(default)).strip()
    if not _WHOLE.fullmatch(text):
        raise unreadable(name, f"note Segment{number}_{key} holds {shown(text)}, expected a number")
    return int(text)
