"""Where the axes of an NRRD lie: a space with directions and origin, or spacings and axis mins."""

from __future__ import annotations

import math
import re

import numpy as np

from uls_data.geometry import Affine
from uls_data.volumes.header_text import BLANKS, Fields, number, shown, unreadable, unsupported

_LPS = (1, 1, 1)
# Name without hyphens: axes, signs to LPS, and whether it names sides of the patient.
_SPACES: dict[str, tuple[int, tuple[int, int, int], bool]] = {
    **dict.fromkeys(("leftposteriorsuperior", "lps"), (3, _LPS, True)),
    **dict.fromkeys(("leftanteriorsuperior", "las"), (3, (1, -1, 1), True)),
    **dict.fromkeys(("rightanteriorsuperior", "ras"), (3, (-1, -1, 1), True)),
    **dict.fromkeys(("leftposteriorsuperiortime", "lpst"), (4, _LPS, True)),
    **dict.fromkeys(("scannerxyz", "3drighthanded", "3dlefthanded"), (3, _LPS, False)),
    **dict.fromkeys(
        ("scannerxyztime", "scannerxyzt", "3drighthandedtime", "3dlefthandedtime"),
        (4, _LPS, False),
    ),
}
# ITK takes these for LPS with time; nobody else does.
_MISTAKEN = ("rightanteriorsuperiortime", "rast", "leftanteriorsuperiortime", "last")
_MOST_SPACE_AXES = 8
_MILLIMETRES = ("", "???", "mm", "millimeter", "millimeters", "millimetre", "millimetres")
_QUOTED = re.compile(r'[ \t]*"((?:[^"\\]|\\"|\\(?!"))*)"')
_VECTOR = re.compile(r"[ \t]*(?:none(?=[ \t]|$)|\(([^()]*)\))")

Vector = list[float] | None


def affine_of(fields: Fields, sizes: tuple[int, ...], domain: list[int]) -> tuple[Affine, bool]:
    """Affine to LPS mm as ITK gives it, and whether the header says how the axes lie.

    Parameters
    ----------
    sizes : tuple of int
        Of all axes.
    domain : list of int
        Axes along which one moves; three at least.

    Raises
    ------
    CaseError
        `unreadable` or `unsupported_format`.
    """
    axes, signs, named = _space(fields)
    centerings = _centerings(fields, len(sizes))
    _check_units(fields, len(sizes), domain, axes)
    if not axes:
        return _without_space(fields, sizes, domain, centerings), False
    if axes != len(domain):
        raise unreadable(fields.name, f"a space of {axes} axes for voxels along {len(domain)}")
    if "measurement frame" in fields:
        _vectors(fields, "measurement frame", axes, axes)
    directions = _directions(fields, len(sizes), domain, axes)
    affine = np.eye(4)
    for axis, vector in enumerate(directions[:3]):
        # In the order of ITK's own arithmetic: the same to the last bit. `sum` rounds otherwise
        # since Python 3.12.
        squares = 0.0
        for value in vector:
            squares += value * value
        length = math.sqrt(squares)
        unit = [(1.0 / length if length else math.inf) * value for value in vector]
        affine[:3, axis] = [sign * x * length for sign, x in zip(signs, unit, strict=False)]
    if "space origin" in fields:
        (origin,) = _vectors(fields, "space origin", 1, axes)
        if origin is not None:
            affine[:3, 3] = [sign * x for sign, x in zip(signs, origin, strict=False)]
    return affine, named and bool(directions)


def quoted(fields: Fields, key: str, count: int) -> list[str]:
    """Value that is a text in double quotes for each of `count` axes."""
    text, found, at = fields.text(key), [], 0
    while match := _QUOTED.match(text, at):
        found.append(match[1])
        at = match.end()
    if len(found) != count or text[at:].strip(BLANKS):
        raise fields.wrong(key, f"{count} texts in quotes")
    return found


def _space(fields: Fields) -> tuple[int, tuple[int, int, int], bool]:
    """Axes of the space (0: there is none), signs to LPS, and whether it names sides."""
    if "space" not in fields:
        axes = fields.integer("space dimension", 0)
        if not 0 <= axes <= _MOST_SPACE_AXES:
            raise fields.wrong("space dimension", f"at most {_MOST_SPACE_AXES}")
        # ITK's own series of volumes have more axes than a space that it can name.
        return axes, _LPS, axes > 3
    if "space dimension" in fields:
        raise unreadable(fields.name, "its header has both 'space' and 'space dimension'")
    name = re.sub("[ -]", "", fields.text("space").lower())
    if name in _MISTAKEN:
        raise unsupported(fields.name, f"space {shown(fields.text('space'))}; write it as LPS")
    if name not in _SPACES:
        raise fields.wrong("space", "such as LPS or RAS")
    return _SPACES[name]


def _vectors(fields: Fields, key: str, count: int, axes: int) -> list[Vector]:
    """Value that is `count` vectors `(x,y,z)`, or `none` for one that does not exist."""
    text, found, at = fields.text(key), [], 0
    while match := _VECTOR.match(text, at):
        found.append(None if match[1] is None else match[1].split(","))
        at = match.end()
    if len(found) != count or text[at:].strip(BLANKS):
        raise fields.wrong(key, f"{count} of {axes} numbers in brackets")
    vectors: list[Vector] = []
    for words in found:
        values = [number(word.strip(BLANKS), nan=True) for word in words or []]
        finite = [value for value in values if value is not None and not math.isnan(value)]
        if words and (len(values) != axes or None in values or 0 < len(finite) < axes):
            raise fields.wrong(key, f"{count} of {axes} numbers in brackets")
        vectors.append(finite or None)
    return vectors


def _directions(
    fields: Fields, all_axes: int, domain: list[int], space_axes: int
) -> list[list[float]]:
    """Direction of each axis of the domain; empty where the header gives none."""
    spacings = _floats(fields, "spacings", all_axes)
    if any(not math.isnan(spacings[axis]) for axis in domain):
        raise unreadable(fields.name, "its header has both a space and 'spacings'")
    mins, maxs = _floats(fields, "axis mins", all_axes), _floats(fields, "axis maxs", all_axes)
    if "space directions" not in fields:
        return []
    vectors = _vectors(fields, "space directions", all_axes, space_axes)
    found = [vector for axis in domain if (vector := vectors[axis]) is not None]
    if found and len(found) != len(domain):
        raise unreadable(fields.name, "some of its axes have a direction, others have none")
    for axis, vector in enumerate(vectors):
        places = (mins[axis], maxs[axis], spacings[axis])
        if vector is not None and not all(math.isnan(value) for value in places):
            raise unreadable(fields.name, "an axis has both a direction and a place of its own")
    return found


def _without_space(
    fields: Fields, sizes: tuple[int, ...], domain: list[int], centerings: list[str]
) -> Affine:
    """Spacings along LPS, and the middle of the first voxel from the axis mins."""
    count = len(sizes)
    spacings, mins, maxs = (
        _floats(fields, key, count) for key in ("spacings", "axis mins", "axis maxs")
    )
    affine, origin = np.eye(4), []
    for axis in domain:
        node = centerings[axis] == "node"
        step = spacings[axis]
        if math.isnan(step):
            step = (maxs[axis] - mins[axis]) / max(sizes[axis] - node, 1)
        origin.append(mins[axis] + (0.0 if node and not math.isnan(step) else step / 2))
    known = [not math.isnan(mins[axis]) for axis in domain]
    if any(known) and not all(known):
        raise fields.wrong("axis mins", "numbers for all axes")
    for at, axis in enumerate(domain[:3]):
        affine[at, at] = 1.0 if math.isnan(spacings[axis]) else spacings[axis]
        affine[at, 3] = 0.0 if any(map(math.isnan, origin)) else origin[at]
    return affine


def _centerings(fields: Fields, count: int) -> list[str]:
    found = ["cell"] * count
    if "centerings" in fields:
        found = [word.lower() for word in fields.words("centerings")]
    if len(found) != count or set(found) - {"cell", "node", "???", "none"}:
        raise fields.wrong("centerings", f"cell or node for {count} axes")
    return found


def _floats(fields: Fields, key: str, count: int) -> list[float]:
    """Numbers of a field, nan where they are unknown."""
    return fields.numbers(key, count, nan=True) if key in fields else [math.nan] * count


def _check_units(fields: Fields, count: int, domain: list[int], axes: int) -> None:
    """Refuse lengths that are in something else than mm."""
    found: list[str] = []
    if "units" in fields:
        units = quoted(fields, "units", count)
        if axes and "space directions" in fields and any(units[axis] for axis in domain):
            raise unreadable(fields.name, "an axis has both a direction and units of its own")
        found += [units[axis] for axis in domain[:3]]
    if "space units" in fields:
        found += quoted(fields, "space units", axes)[:3]
    for unit in found:
        if unit.strip().lower() not in _MILLIMETRES:
            raise unsupported(fields.name, f"lengths in {shown(unit)}; write it in mm")
