"""Annotations of AIM, made up: version 4 in XML and JSON, and what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements.aim import read_aim
from uls_data.sources.measurements.statement import Kind, Shape

READER = Measurements(name="measurements", case="x", objects=("aim",))


def aim_4(first: str = "10.5") -> str:
    """One annotation of AIM 4, by the element names of its schema: a line of two points."""
    point = (
        '<TwoDimensionSpatialCoordinate><coordinateIndex value="{}"/><x value="{}"/>'
        '<y value="{}"/></TwoDimensionSpatialCoordinate>'
    )
    points = point.format(0, first, 20.5) + point.format(1, 30.5, 20.5)
    return (
        '<ImageAnnotationCollection xmlns="gme://caCORE.caCORE/4.4/edu.northwestern.radiology.AIM" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<user><name value="Jane Roe"/><loginName value="roe"/></user>'
        '<imageAnnotations><ImageAnnotation><uniqueIdentifier root="1.2.3"/>'
        "<calculationEntityCollection><CalculationEntity><typeCode code='G-D7FE'/>"
        "<calculationResultCollection><CalculationResult><unitOfMeasure value='mm'/>"
        "<value value='16.0'/></CalculationResult></calculationResultCollection>"
        "</CalculationEntity></calculationEntityCollection>"
        '<markupEntityCollection><MarkupEntity xsi:type="TwoDimensionMultiPoint">'
        '<imageReferenceUid root="1.2.3.4"/><twoDimensionSpatialCoordinateCollection>'
        f"{points}</twoDimensionSpatialCoordinateCollection></MarkupEntity>"
        "</markupEntityCollection></ImageAnnotation></imageAnnotations>"
        "</ImageAnnotationCollection>"
    )


def as_json() -> str:
    """Write the same annotation in JSON."""
    point = [
        {"coordinateIndex": {"value": at}, "x": {"value": x}, "y": {"value": 20.5}}
        for at, x in enumerate((10.5, 30.5))
    ]
    entity = {
        "xsi:type": "TwoDimensionMultiPoint",
        "imageReferenceUid": {"root": "1.2.3.4"},
        "twoDimensionSpatialCoordinateCollection": {"TwoDimensionSpatialCoordinate": point},
    }
    result = {"unitOfMeasure": {"value": "mm"}, "value": {"value": 16.0}}
    calculation = {
        "typeCode": [{"code": "G-D7FE"}],
        "calculationResultCollection": {"CalculationResult": [result]},
    }
    annotation = {
        "uniqueIdentifier": {"root": "1.2.3"},
        "calculationEntityCollection": {"CalculationEntity": [calculation]},
        "markupEntityCollection": {"MarkupEntity": [entity]},
    }
    user = {"name": {"value": "Jane Roe"}, "loginName": {"value": "roe"}}
    said = {"user": user, "imageAnnotations": {"ImageAnnotation": [annotation]}}
    return json.dumps({"ImageAnnotationCollection": said})


@pytest.mark.parametrize("name", ["a.xml", "a.json"])
def test_aim_4(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(aim_4() if name == "a.xml" else as_json())
    (one,) = read_aim(Path(name), tmp_path, READER)
    assert one.shapes == (
        Shape(Kind.LINE, ((10, 20), (30, 20)), slice_name="1.2.3.4", stated_mm=16.0),
    )
    assert one.drawn_by and one.track and "Roe" not in repr(one)


HOSTILE_AIM = (
    '<!DOCTYPE a [<!ENTITY b "c">]><ImageAnnotation>&b;</ImageAnnotation>',
    '<!DOCTYPE a SYSTEM "file:///etc/passwd"><ImageAnnotation/>',
    *("<ImageAnnotation>", "<ImageAnnotation>" * 50_000, "", "\0", "<a/><b/>"),
)
HOSTILE_JSON = (
    *("", "{", "\0", "[" * 100_000, '{"a": ' * 70 + "{}" + "}" * 70, '{"a": ' * 50_000),
    '{"a": [' + ",".join(["{}"] * 200_001) + "]}",
)
HOSTILE = [
    *(("a.xml", text) for text in HOSTILE_AIM),
    *(("a.json", text) for text in HOSTILE_JSON),
]


@pytest.mark.parametrize(("name", "text"), HOSTILE)
def test_aim_that_is_none(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CaseError) as caught:
        read_aim(Path(name), tmp_path, READER)
    assert caught.value.reason in (Reason.ANNOTATION_UNREADABLE, Reason.TOO_LARGE)


def test_a_name_in_json_that_is_no_text(tmp_path: Path) -> None:
    """Half of a surrogate pair, which JSON can spell and no encoding writes."""
    for name in ("Jane Roe", "1.2.3"):
        (tmp_path / "a.json").write_text(as_json().replace(f'"{name}"', '"\\ud800"'))
        (one,) = read_aim(Path("a.json"), tmp_path, READER)
        assert one.shapes and one.drawn_by and one.track


@pytest.mark.parametrize("number", ["inf", "1e999", "Jane", "9" * 400, ""])
def test_aim_with_a_point_that_is_none(tmp_path: Path, number: str) -> None:
    (tmp_path / "a.xml").write_text(aim_4(number))
    (one,) = read_aim(Path("a.xml"), tmp_path, READER)
    assert one.skipped is not None and one.skipped[0] == Reason.ANNOTATION_UNREADABLE
    assert "Jane" not in one.skipped[1]
