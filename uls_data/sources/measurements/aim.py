"""Annotations of AIM (Annotation and Image Markup): XML of versions 3 and 4, and JSON of version 4.

Version 3 was held against real files and their twins as structured reports; version 4, and its JSON
as ePAD writes it, against the schema alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder

import numpy as np

from uls_data.dicom.elements import is_uid
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.io import sha256_bytes
from uls_data.outcome import Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements.groups import CORNER_VOX, drawn_of, lengths_beside
from uls_data.sources.measurements.statement import Place, Shape, Statement
from uls_data.sources.measurements.units import in_mm
from uls_data.sources.xml_tree import BoundedBuilder, Bounds, read_tree
from uls_data.tables import read_bytes, real_of

MAXIMUM_BYTES = 16 << 20
_BOUNDS = Bounds("AIM annotation", elements=200_000, depth=64, text=MAXIMUM_BYTES)
_MOST_POINTS = 50_000
_FARTHEST = 1e6
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
# Graphic types of DICOM by the shapes of AIM, versions 3 and 4.
_GRAPHICS = {"Polyline": "POLYLINE", "Point": "POINT", "Circle": "CIRCLE", "Ellipse": "ELLIPSE"}


def read_aim(path: Path, root: Path, reader: Measurements) -> list[Statement]:
    """Statements of the annotations of a file.

    Raises
    ------
    CaseError
        `annotation_unreadable`, `too_large`, `unreadable` or `io_error`.
    """
    data = read_bytes(root / path, root, MAXIMUM_BYTES)
    name = readable(path.as_posix())
    tree = (
        _of_json(data, name) if path.suffix.lower() == ".json" else read_tree(data, name, _BOUNDS)
    )
    everybody = _user(tree)
    return [
        _statement(one, f"annotation-{number}", path, name, everybody)
        for number, one in enumerate(_named(tree, "ImageAnnotation"), start=1)
    ]


def _of_json(data: bytes, name: str) -> Element:
    """Tree of the same elements: what is a text or a number there is an attribute."""
    builder = BoundedBuilder(name, _BOUNDS)
    try:
        said = json.loads(data)
        builder.start("json", {})
        _build(said, builder)
        builder.end("json")
        return builder.close()
    except (ValueError, RecursionError):
        raise _BOUNDS.unreadable(name, "not readable JSON") from None


def _build(said: Any, builder: TreeBuilder) -> None:
    for key, value in said.items() if isinstance(said, dict) else ():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                attributes = {
                    _TYPE if name == "xsi:type" else name: str(text)
                    for name, text in one.items()
                    if isinstance(text, str | int | float)
                }
                builder.start(key, attributes)
                _build(one, builder)
                builder.end(key)


def _statement(one: Element, label: str, path: Path, name: str, everybody: str) -> Statement:
    track = one.get("uniqueIdentifier") or _value(one, "uniqueIdentifier")
    images = {
        uid
        for image in _named(one, "Image")
        if is_uid(uid := image.get("sopInstanceUID") or _value(image, "sopInstanceUid"))
    }
    made = Statement(
        source_lesion_id=label,
        source=path,
        place=Place(slice_name=images.pop() if len(images) == 1 else ""),
        drawn_by=_user(one) or everybody,
        track=_hash(track) if track else "",
    )
    try:
        entities = [it for it in one.iter() if _local(it) in ("GeometricShape", "MarkupEntity")]
        shapes = [shape for entity in entities for shape in _shapes(entity, name)]
    except CaseError as error:
        return replace(made, skipped=(error.reason, error.detail))
    if not shapes:
        detail = f"{name}: {len(entities)} shapes, none of them a line, point or outline"
        return replace(made, skipped=(Reason.NOT_MEASURED, detail))
    return replace(made, shapes=tuple(lengths_beside(shapes, *_lengths(one))))


def _shapes(entity: Element, name: str) -> Iterator[Shape]:
    """Yield what a geometric shape (version 3) or a markup (version 4) draws."""
    kind = (entity.get(_TYPE) or "").rpartition(":")[2].removeprefix("TwoDimension")
    image = _value(entity, "imageReferenceUid", "root")
    found: list[tuple[int, float, float]] = []
    for at in entity.iter():
        if _local(at) not in ("SpatialCoordinate", "TwoDimensionSpatialCoordinate"):
            continue
        texts = [at.get(key) or _value(at, key) for key in ("coordinateIndex", "x", "y")]
        numbers = [number for text in texts if (number := real_of(text)) is not None]
        inside = len(numbers) == 3 and max(map(abs, numbers)) <= _FARTHEST
        if not inside or len(found) >= _MOST_POINTS:
            raise _BOUNDS.unreadable(name, "a coordinate that no image has")
        found.append((int(numbers[0]), numbers[1], numbers[2]))
        image = image or at.get("imageReferenceUID") or ""
    points = np.array([[x, y] for _, x, y in sorted(found)]).reshape(-1, 2) - CORNER_VOX
    # Two points of a MultiPoint are how ePAD writes a line.
    many = "POLYLINE" if len(points) == 2 else "MULTIPOINT"
    graphic = many if kind == "MultiPoint" else _GRAPHICS.get(kind, "")
    for drawn, corners in drawn_of(graphic, points):
        yield Shape(drawn, corners, slice_name=image if is_uid(image) else "")


def _lengths(one: Element) -> tuple[list[float], list[float]]:
    """Stated lengths in mm: of long axes and of lines without a role, and of short axes."""
    long, short = list[float](), list[float]()
    for calculation in one.iter():
        if _local(calculation) not in ("Calculation", "CalculationEntity"):
            continue
        code = calculation.get("codeValue") or _value(calculation, "typeCode", "code")
        for result in _named(calculation, "CalculationResult"):
            unit = result.get("unitOfMeasure") or _value(result, "unitOfMeasure")
            texts = [it.get("value") or "" for it in _named(result, "CalculationData")]
            texts = texts or [_value(result, "value")]
            length_mm = in_mm(real_of(texts[0]) if len(texts) == 1 else None, unit)
            if length_mm is not None:
                (short if code in ("G-A186", "103340004") else long).append(length_mm)
    return long, short


def _user(tree: Element) -> str:
    """Hash of who drew: the one user of a tree; empty where there is none, or several."""
    users = {
        "|".join(
            user.get(key) or _value(user, key)
            for key in ("name", "loginName", "numberWithinRoleOfClinicalTrial")
        )
        for user in tree.iter()
        if _local(user) in ("User", "user")
    } - {"||"}
    return _hash(users.pop().lower()) if len(users) == 1 else ""


def _hash(text: str) -> str:
    # JSON can spell half of a surrogate pair.
    return sha256_bytes(text.encode("utf-8", "surrogatepass"))


def _local(element: Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _named(tree: Element, name: str) -> Iterator[Element]:
    return (one for one in tree.iter() if _local(one) == name)


def _value(element: Element, name: str, attribute: str = "value") -> str:
    """Attribute of the child of a name; empty where there is none."""
    for child in element:
        if _local(child) == name:
            return child.get(attribute) or child.get("root") or ""
    return ""
