"""Members of an ensemble: whatever can make a mask of a lesion, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from uls_data.ensemble.subject import Subject, read_label
from uls_data.errors import CaseError
from uls_data.measure.lines import Lines
from uls_data.pseudomask.jury_3d import Solid, jury_3d
from uls_data.pseudomask.likeness import like_solid
from uls_data.pseudomask.methods import ELLIPSOID, JURY_3D, METHODS, NEEDS_IMAGE, pseudo_mask
from uls_data.pseudomask.slab import Part
from uls_data.pseudomask.solid import solid_in_voi
from uls_data.voi import VOI_SHAPE

Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]
LIKENESS = "likeness"
# Without a word of the user's: one mask in 3D and one on the key slice, of the lines.
DEFAULT = (ELLIPSOID, "jury")


class Member(Protocol):
    """Makes a mask of a lesion."""

    @property
    def name(self) -> str:
        """What certificates and messages call it."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What it needs of a lesion, `lines` or `image`, and packages by their names."""
        ...

    def mask(self, subject: Subject) -> Mask | None:
        """Mask in 3D, shape (256, 256, 128), or of the key slice, shape (256, 256); None: none.

        Raises
        ------
        CaseError
            A file that it needs cannot be read, or no mask can be made of this lesion.
        """
        ...


@dataclass(frozen=True)
class Layer:
    """A mask that there is already, as a layer of a manifest: another model's, or a fold's."""

    name: str
    needs: frozenset[str] = frozenset()

    def mask(self, subject: Subject) -> Mask | None:
        """Label of the layer; where all of it lies on the key slice, the mask of that slice."""
        path = subject.layers.get(self.name)
        if path is None:
            return None
        found = read_label(path)
        at = subject.key_slice
        if at is not None and found.any() and np.count_nonzero(found[:, :, at]) == found.sum():
            return found[:, :, at]
        return found


@dataclass(frozen=True)
class Ellipsoid:
    """The ellipsoid of the two lines."""

    name: str = ELLIPSOID
    needs: frozenset[str] = frozenset({"lines"})

    def mask(self, subject: Subject) -> Mask | None:
        """Ellipsoid within the scan; None without lines or spacing."""
        spacing = subject.spacing_mm
        if subject.lines is None or subject.key_slice is None or spacing is None:
            return None
        return solid_in_voi(
            subject.lines, subject.key_slice, subject.scan, spacing, subject.outward_vox
        )


@dataclass(frozen=True)
class Likeness:
    """What looks, on all slices, like the jury's mask on the measured one."""

    name: str = LIKENESS
    needs: frozenset[str] = frozenset({"lines", "image"})

    def mask(self, subject: Subject) -> Mask | None:
        """Mask in 3D; None without lines or spacing."""
        measured, at, spacing = subject.measured(image=True), subject.key_slice, subject.spacing_mm
        if measured is None or at is None or spacing is None:
            return None
        plane = pseudo_mask("jury", measured).mask
        lines = measured.lines.lengthened(measured.outward_vox)
        box = about(lines, at, spacing)
        x, y, z = (part.start for part in box)
        whole = np.zeros(VOI_SHAPE, bool)
        whole[subject.scan] = True
        mask = np.zeros(VOI_SHAPE, bool)
        mask[box] = like_solid(
            subject.hu[box], whole[box], plane[box[:2]], lines.moved(-x, -y), at - z, spacing
        )
        return mask


@dataclass(frozen=True)
class Jury3d:
    """The jury's mask of the measured slice, followed through the others."""

    name: str = JURY_3D
    needs: frozenset[str] = frozenset({"lines", "image"})

    def mask(self, subject: Subject) -> Mask | None:
        """Mask in 3D; None without lines or spacing."""
        found = self.solid(subject)
        return None if found is None else found.mask

    def solid(self, subject: Subject) -> Solid | None:
        """Mask in 3D and its predicted Dice; None without lines in the scan, or spacing.

        Raises
        ------
        CaseError
        """
        measured, at, spacing = subject.measured(image=True), subject.key_slice, subject.spacing_mm
        if measured is None or at is None or spacing is None:
            return None
        part = Part.about(measured, at, subject.scan, spacing)
        if part is None:
            return None
        mask = np.zeros(VOI_SHAPE, bool)
        made = jury_3d(subject.hu[part.box], part.measured, part.slice_vox, spacing)
        mask[part.box] = made.mask
        return Solid(mask, made.predicted_dice)


def about(lines: Lines, key_slice: int, spacing_mm: tuple[float, float, float]) -> Box:
    """Part of a VOI (x, y, z) that holds the lesion of these lines and its surroundings."""
    long_mm, _ = lines.length_mm(spacing_mm)
    middle = (*lines.points.mean(axis=0), key_slice)
    x, y, z = (
        slice(
            int(np.clip(at - long_mm / mm - 2, 0, n - 1)),
            int(np.clip(at + long_mm / mm + 3, 1, n)),
        )
        for at, mm, n in zip(middle, spacing_mm, VOI_SHAPE, strict=True)
    )
    return x, y, z


@dataclass(frozen=True)
class Flat:
    """A 2D method on the key slice (`uls_data.pseudomask.methods`)."""

    name: str

    @property
    def needs(self) -> frozenset[str]:
        """Lines, and the image where the method looks at it."""
        return frozenset({"lines", "image"} if self.name in NEEDS_IMAGE else {"lines"})

    def mask(self, subject: Subject) -> Mask | None:
        """Mask of the key slice; None without lines."""
        measured = subject.measured(image="image" in self.needs)
        return None if measured is None else pseudo_mask(self.name, measured).mask


_SOLID: dict[str, Member] = {one.name: one for one in (Ellipsoid(), Likeness(), Jury3d())}
# Of the members that need no layer.
NAMES = (*METHODS, *_SOLID)


def member_of(name: str) -> Member:
    """Member of a name: a 2D method, `ellipsoid`, `likeness`, `jury_3d`, else a layer."""
    if name in _SOLID:
        return _SOLID[name]
    return Flat(name) if name in METHODS else Layer(name)


@dataclass(frozen=True)
class Masks:
    """What members made of a lesion: masks in 3D, masks of the key slice, and problems."""

    solid: dict[str, Mask]
    flat: dict[str, Mask]
    problems: dict[str, CaseError]


def masks_of(members: Sequence[Member], subject: Subject) -> Masks:
    """Masks of a lesion. A layer of a member's name stands for what the member would make."""
    found = Masks({}, {}, {})
    for member in members:
        source: Member = Layer(member.name) if member.name in subject.layers else member
        try:
            mask = source.mask(subject)
        except CaseError as error:
            found.problems[member.name] = error
            continue
        if mask is not None:
            (found.flat if mask.ndim == 2 else found.solid)[member.name] = mask
    return found
