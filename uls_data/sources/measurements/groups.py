"""Measurement groups of structured reports: their lines, points and outlines.

TID 1410, 1411 and 1501, whether or not a group names its template, and AIM's own template. Where a
value and its coordinates stand to each other varies: a value is inferred from coordinates below it,
stands below them, or beside them; all three are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data.dicom.content_tree import Item, read_content
from uls_data.ids import readable, track_id
from uls_data.io import sha256_bytes
from uls_data.outcome import Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements.statement import Kind, Place, Point, Shape, Statement
from uls_data.sources.measurements.units import in_mm

_GROUPS = ("DCM:125007", "99NCIAIM:zzz002")
_LIBRARIES = ("DCM:111028", "DCM:126200")  # of images, with numbers about them
_LONG = frozenset(("SRT:G-A185", "SCT:103339001"))
_SHORT = frozenset(("SRT:G-A186", "SCT:103340004"))
_LENGTHS = frozenset(
    (
        *("SRT:G-D7FE", "SCT:410668003", "SRT:G-A22A"),  # length
        *("SRT:M-02550", "SCT:81827009", "DCM:121206"),  # diameter, distance
        "99NCIAIM:zzz015",  # whatever AIM calculated; its unit tells
    )
)
_REFERENCE_POINTS = "DCM:122438"  # where a label stands
_TRACKING_UID = "DCM:112040"
_OBSERVER = "DCM:121008"
_LOGIN, _LOGIN_NUMBER = "99NCIAIM:zzz026", "99NCIAIM:zzz045"
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
# SCOORD counts from the outer corner of the first pixel (PS3.3 C.18.6.1.1).
CORNER_VOX = 0.5
_SIDES = 72


def read_report(path: Path, root: Path, reader: Measurements) -> list[Statement]:
    """Statements of a structured report's groups; one without coordinates says so.

    Raises
    ------
    CaseError
        As `read_content`.
    """
    tree = read_content(root / path)
    found = []
    for number, group in enumerate(_groups(tree), start=1):
        made = _Group(tree, group).statement()
        found.append(replace(made, source_lesion_id=f"group-{number}", source=path))
    return found


def _groups(item: Item) -> Iterator[Item]:
    """Yield the groups of a tree: those that are called so, or whatever container holds values."""
    if item.concept in _LIBRARIES:
        return
    own = tuple(one for one in item.items if one.kind != "CONTAINER")
    inner = tuple(one for one in item.items if one.kind == "CONTAINER")
    if item.concept in _GROUPS and item.kind == "CONTAINER":
        yield item
        return
    here = replace(item, items=own)
    if item.kind == "CONTAINER" and any(
        one.kind in ("NUM", "SCOORD", "SCOORD3D") for one, _ in _walk(here)
    ):
        yield here
    for one in inner:
        yield from _groups(one)


def _walk(item: Item, above: tuple[Item, ...] = ()) -> Iterator[tuple[Item, tuple[Item, ...]]]:
    """All items below one, each with those above it."""
    for one in item.items:
        if one.concept == _REFERENCE_POINTS:
            continue
        yield one, above
        yield from _walk(one, (*above, one))


class _Group:
    """One group while it is read."""

    def __init__(self, tree: Item, group: Item) -> None:
        self.tree = tree
        self.items = list(_walk(group))
        self.group = group

    def statement(self) -> Statement:
        """Return what the group states, without name and source."""
        # An item may stand for coordinates that are in the tree already.
        drawn = [shape for one, above in self.items for shape in self._shapes(one, above)]
        shapes = self._with_lengths(list(dict.fromkeys(drawn)))
        images = self._images(self.group)
        slices = {shape.slice_name for shape in shapes} - {""}
        frames = {one.uid for one, _ in self.items if one.kind == "SCOORD3D" and one.uid}
        track = next((one.uid for one in self.group.items if one.concept == _TRACKING_UID), "")
        named = [uid for _, uid in images]
        made = Statement(
            place=Place(
                slice_name=named[0] if len(named) == 1 and not slices else "",
                frame=frames.pop() if len(frames) == 1 and not slices and not named else "",
            ),
            shapes=tuple(shapes),
            drawn_by=self._observer(),
            track=sha256_bytes(track.encode()) if track else "",
            follows=track_id("uid", track) if track else "",
        )
        return made if shapes else replace(made, skipped=(Reason.NOT_MEASURED, self._why_none()))

    def _why_none(self) -> str:
        graphics = sorted({one.graphic for one, _ in self.items if one.points and one.graphic})
        if graphics:
            return f"drawn are {', '.join(map(readable, graphics))}: no line, point or outline"
        segments = any(
            sop_class in _SEGMENTATIONS for one, _ in self.items for sop_class, _ in one.images
        )
        values = sum(one.kind == "NUM" for one, _ in self.items)
        what = f"{values} values without coordinates"
        if segments:
            return f"{what}, of a segmentation: a recipe with `dicom_objects` reads that"
        return what

    def _images(self, item: Item) -> list[tuple[str, str]]:
        """Images that stand directly below an item, segmentations left out."""
        found = [pair for one in item.items if one.kind == "IMAGE" for pair in one.images]
        return list(dict.fromkeys(pair for pair in found if pair[0] not in _SEGMENTATIONS))

    def _shapes(self, one: Item, above: Sequence[Item]) -> Iterator[Shape]:
        """Shapes of an item of coordinates, or of one that stands for it."""
        if one.refers and not one.kind:
            other = self.tree.at(one.refers)
            if other is None or other.kind not in ("SCOORD", "SCOORD3D"):
                return
            one = other
        if one.kind not in ("SCOORD", "SCOORD3D"):
            return
        images = self._images(one) or self._images(self.group)
        slice_name = images[0][1] if len(images) == 1 else ""
        nums = [num for num in (*above, *one.items) if num.kind == "NUM"]
        concepts = {num.concept for num in nums}
        role = "long" if concepts & _LONG else "short" if concepts & _SHORT else ""
        stated = next((mm for num in nums if (mm := _length_mm(num)) is not None), None)
        for kind, points in _drawn(one):
            is_line = kind == Kind.LINE
            yield Shape(
                kind, points, role if is_line else "", slice_name, stated if is_line else None
            )

    def _with_lengths(self, shapes: list[Shape]) -> list[Shape]:
        """Shapes, with the lengths beside them where none have one of their own."""
        if any(shape.stated_mm is not None for shape in shapes):
            return shapes
        values = [(one.concept, _length_mm(one)) for one, _ in self.items]
        known = [(concept, mm) for concept, mm in values if mm is not None]
        long = [mm for concept, mm in known if concept in _LONG]
        return lengths_beside(
            shapes,
            long or [mm for concept, mm in known if concept not in _SHORT],
            [mm for concept, mm in known if concept in _SHORT],
        )

    def _observer(self) -> str:
        """Hash of who measured: of the group, else of the whole report; empty for nobody."""
        for within in ([one for one, _ in self.items], [one for one, _ in _shallow(self.tree)]):
            names = [one.text_hash for one in within if one.concept == _OBSERVER and one.text_hash]
            logins = [one.text_hash for one in within if one.concept in (_LOGIN, _LOGIN_NUMBER)]
            if names or logins:
                return names[0] if names else sha256_bytes("".join(logins).encode())
        return ""


def lengths_beside(
    shapes: list[Shape], long_mm: Sequence[float], short_mm: Sequence[float]
) -> list[Shape]:
    """Shapes with lengths that are stated beside them, where it is clear which is whose.

    Parameters
    ----------
    long_mm, short_mm : sequence of float
        Of long axes and lines without a role; of short axes.
    """
    lines = [at for at, shape in enumerate(shapes) if shape.kind == Kind.LINE]
    found = list(shapes)
    if len(lines) == 1:
        own = short_mm if shapes[lines[0]].role == "short" else long_mm
        if len(own) == 1:
            found[lines[0]] = replace(shapes[lines[0]], stated_mm=own[0])
    elif len(lines) == 2 and len(long_mm) == 1 and len(short_mm) == 1:
        order = sorted(lines, key=lambda at: -math.dist(*shapes[at].points))
        for at, role, mm in zip(order, ("long", "short"), (*long_mm, *short_mm), strict=True):
            found[at] = replace(shapes[at], role=role, stated_mm=mm)
    return found


def _shallow(tree: Item) -> Iterator[tuple[Item, tuple[Item, ...]]]:
    """Items of a report above its containers."""
    yield from _walk(replace(tree, items=tuple(o for o in tree.items if o.kind != "CONTAINER")))


def _length_mm(num: Item) -> float | None:
    """Stated length; None of anything that is none, such as an area under a length's code."""
    if num.kind != "NUM" or num.concept not in _LENGTHS | _LONG | _SHORT:
        return None
    return in_mm(num.number, num.unit.partition(":")[2])


def _drawn(one: Item) -> Iterator[tuple[Kind, tuple[Point, ...]]]:
    """Yield what coordinates draw: lines, points, outlines; angles and solids are none of these."""
    points = np.array(one.points)
    if not len(points):
        return
    points = points - CORNER_VOX if one.kind == "SCOORD" else points * [-1.0, -1.0, 1.0]
    yield from drawn_of(one.graphic, points)


def drawn_of(graphic: str, points: NDArray[np.float64]) -> Iterator[tuple[Kind, tuple[Point, ...]]]:
    """Yield what points of a Graphic Type of DICOM draw.

    Parameters
    ----------
    points : ndarray, shape (n, 2) or (n, 3)
    """
    count = len(points)
    if graphic in ("POINT", "MULTIPOINT"):
        for point in points:
            yield Kind.POINT, _tuples(point[None])
    elif graphic in ("POLYLINE", "POLYGON", "INTERPOLATED"):
        closed = count > 1 and np.array_equal(points[0], points[-1])
        corners = points[:-1] if closed else points
        if len(corners) == 2:
            yield Kind.LINE, _tuples(corners)
        elif len(corners) > 3 or (len(corners) == 3 and (closed or graphic == "POLYGON")):
            yield Kind.OUTLINE, _tuples(corners)
    elif graphic == "CIRCLE" and count == 2:
        radius = float(np.linalg.norm(points[1] - points[0]))
        across = np.eye(points.shape[1])[:2] * radius
        yield Kind.OUTLINE, _tuples(_ellipse(points[0], *across))
    elif graphic == "ELLIPSE" and count == 4:
        centre = points[:2].mean(axis=0)
        half = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
        yield Kind.OUTLINE, _tuples(_ellipse(centre, *half))


def _ellipse(
    centre: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Corners of a many-sided polygon with an ellipse's half axes."""
    angles = np.linspace(0, 2 * np.pi, _SIDES, endpoint=False)[:, None]
    found: NDArray[np.float64] = centre + np.cos(angles) * one + np.sin(angles) * other
    return found


def _tuples(points: NDArray[np.float64]) -> tuple[Point, ...]:
    return tuple(tuple(point) for point in points.tolist())
