"""Series that hold several stacks of slices, and objects drawn on one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from makers.dicom import FIRST_MM, STEP_MM, file_bytes, slice_of
from makers.own_objects import write_segmentation
from uls_data.dicom.phases import NamedSlices

SHAPE = (16, 14)  # columns, rows
BALL = np.s_[4:10, 3:9]  # columns, rows of what is drawn
DRAWN_AT = (2, 3)  # on these slices


@dataclass(frozen=True)
class Stack:
    """A stack of slices: its value, elements of all its slices, and where it lies."""

    value: int
    elements: dict[str, Any] = field(default_factory=dict)
    slices: int = 6
    first_mm: float = 0.0
    step_mm: float = STEP_MM

    def uid(self, at: int) -> str:
        return f"1.2.826.0.2.{self.value}.{at}"

    def named(self, at: Iterable[int] | None = None) -> frozenset[str]:
        """UIDs of some slices, or of all."""
        return frozenset(map(self.uid, range(self.slices) if at is None else at))


def drawn(*stacks: Stack, at: Iterable[int] = DRAWN_AT) -> NamedSlices:
    return NamedSlices(drawn=frozenset[str]().union(*(one.named(at) for one in stacks)))


def write_stacks(folder: Path, *stacks: Stack, numbered: bool = False) -> list[Path]:
    """Write stacks as one series; returns its files by name, relative to the folder.

    Parameters
    ----------
    numbered : bool
        Let instance numbers run from stack to stack, instead of being the same in each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = 0
    for stack in stacks:
        for at in range(stack.slices):
            height = FIRST_MM[2] + stack.first_mm + at * stack.step_mm
            pixels = np.full(SHAPE[::-1], stack.value, np.uint16)
            pixels[BALL[1], BALL[0]] += 1
            ds = slice_of(pixels, (*FIRST_MM[:2], height), at + 1 + before * numbered)
            ds.SOPInstanceUID = stack.uid(at)
            for keyword, value in stack.elements.items():
                setattr(ds, keyword, value(at) if callable(value) else value)
            (folder / f"{stack.value}-{at:03d}.dcm").write_bytes(file_bytes(ds))
        before += stack.slices
    return sorted(Path(path.name) for path in folder.iterdir())


def slices_of(folder: Path, stack: Stack) -> list[Dataset]:
    return [pydicom.dcmread(folder / f"{stack.value}-{at:03d}.dcm") for at in range(stack.slices)]


def write_seg(path: Path, slices: Sequence[Dataset]) -> None:
    """Write a segmentation of the ball; it lists all slices that it is given."""
    mask: NDArray[np.uint8] = np.zeros((len(slices), *SHAPE[::-1]), np.uint8)
    mask[list(DRAWN_AT), BALL[1], BALL[0]] = 1
    write_segmentation(path, list(slices), mask, "Mass")


def write_structure_set(path: Path, slices: Sequence[Dataset]) -> None:
    """Write a structure set of the ball; its contours name their slices, and so does its list."""
    from makers.rtstruct import Contour, encoded, structure_set

    contours = []
    columns, rows = BALL
    for at in DRAWN_AT:
        x, y, z = map(float, slices[at].ImagePositionPatient)
        between_rows, between_columns = map(float, slices[at].PixelSpacing)
        corners = [
            (x + (column - 0.5) * between_columns, y + (row - 0.5) * between_rows, z)
            for column, row in (
                (columns.start, rows.start),
                (columns.stop, rows.start),
                (columns.stop, rows.stop),
                (columns.start, rows.stop),
            )
        ]
        contours.append(Contour("CLOSED_PLANAR", np.array(corners), slices[at].SOPInstanceUID))
    ds = structure_set({1: ("Mass", contours)})
    ds.Modality, ds.StudyInstanceUID = "RTSTRUCT", slices[0].StudyInstanceUID
    ds.SeriesInstanceUID = generate_uid()
    frame = ds.ReferencedFrameOfReferenceSequence[0]
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    series.SeriesInstanceUID = slices[0].SeriesInstanceUID
    series.ContourImageSequence = []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(ds))
