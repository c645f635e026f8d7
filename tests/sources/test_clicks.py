"""Points that readers set in lesions, and objects chosen by what their series is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from makers.collections import Rt, Seg, Study, write_collection

import uls_data
from uls_data.errors import UlsDataError

RECIPE = """
schema_version: 1
source: made_up
recipe_version: 1
title: Made up
licence: {name: CC0-1.0, redistributable: true, evidence: written by a test}
citation: none
access: [Written by a test.]
reader: {name: dicom_objects, kind: any, case: 'p\\d', patient: '(p\\d)(?:_.*)?'}
instances: {rule: given}
minimum_size: null
lesion_type: unknown
"""
ONE = {"GTV": "a", "CLICK": "point in a"}
TWO_CTS = {"ct": "CT", "thin": "CT"}


def rows(
    folder: Path, studies: Sequence[Study], reader: Any = None, **changes: Any
) -> list[dict[str, Any]]:
    """Rows of a build of labels alone."""
    content = yaml.safe_load(RECIPE) | changes
    content["reader"] |= reader or {}
    recipe = folder / "recipe.yaml"
    folder.mkdir(exist_ok=True)
    recipe.write_text(yaml.safe_dump(content))
    if not (folder / "raw").exists():
        write_collection(folder / "raw", "collection", studies)
    report = uls_data.build(recipe, folder / "raw", folder / "out", labels_only=True)
    return uls_data.load_manifest(report.manifest).to_dict("records")


def test_a_point_among_the_structures_of_one_set(tmp_path: Path) -> None:
    studies = [Study("p1", [Rt("anything", ONE)])]
    (row,) = rows(tmp_path, studies, {"structures": "GTV", "clicks": "(?i:click)"})
    assert (row["click_source"], row["source_lesion_id"]) == ("human", "roi-1+roi-2")
    # Without such a rule a point is a structure without a voxel.
    drawn, point = rows(tmp_path / "without", studies)
    assert (drawn["click_source"], point["reason"]) == ("drawn", "point_mark")


def test_points_beside_a_lesion_and_twice_in_it(tmp_path: Path) -> None:
    rois = {"GTV": "a", "CLICK 1": "point in a", "CLICK 2": "point in a", "CLICK 3": "point in c"}
    first, *others = rows(tmp_path, [Study("p1", [Rt("", rois)])], {"clicks": "CLICK.*"})
    assert first["source_lesion_id"] == "roi-1+roi-2"
    assert [(row["reason"], row["source_lesion_id"]) for row in others] == [
        ("point_mark", "roi-3"),
        ("point_mark", "roi-4"),
    ]
    assert "lesion 1, which has another" in others[0]["detail"]
    assert "no lesion" in others[1]["detail"]


def test_of_two_lesions_around_a_point_the_smaller_has_it(tmp_path: Path) -> None:
    rois = {"organ": "organ", "lesion": "b", "CLICK": "point in b", "CLICK 2": "point in b"}
    found = rows(tmp_path, [Study("p1", [Rt("", rois)])], {"clicks": "CLICK.*"})
    assert [row["source_lesion_id"] for row in found] == ["roi-1+roi-4", "roi-2+roi-3"]


def test_a_click_that_is_no_point(tmp_path: Path) -> None:
    rois = {"GTV": "a", "CLICK": "b", "CLICK 2": "nothing"}
    lesion, *others = rows(tmp_path, [Study("p1", [Rt("", rois)])], {"clicks": "CLICK.*"})
    assert lesion["click_source"] == "drawn"
    assert [row["reason"] for row in others] == ["point_mark", "point_mark"]
    assert all("expected one point" in row["detail"] for row in others)


def test_a_point_in_a_part_of_a_union(tmp_path: Path) -> None:
    objects = [Seg("", {"1": "a", "2": "b"}), Rt("seed", {"any": "point in b"})]
    found = rows(
        tmp_path,
        [Study("p1", objects)],
        {"clicks": "seed"},
        instances={"rule": "components", "values": [1]},
    )
    assert sorted((row["click_source"], row["source_lesion_id"].count("+")) for row in found) == [
        ("drawn", 0),
        ("human", 1),
    ]


def test_objects_that_are_not_chosen_are_of_no_concern(tmp_path: Path) -> None:
    studies = [Study("p1", [Seg("ours", {"1": "a"}), Seg("a model's", {"1": "b"})], TWO_CTS)]
    found = rows(
        tmp_path, studies, {"objects": "ours"}, lesion_types=[{"series": "ours", "type": "lung"}]
    )
    assert [(row["status"], row["lesion_type"]) for row in found if row["status"] == "ok"] == [
        ("ok", "lung")
    ]
    assert [row["reason"] for row in found if row["status"] != "ok"] == ["not_annotated"]
    with pytest.raises(UlsDataError, match="nothing that says where lesions are"):
        rows(tmp_path / "none", studies, {"objects": "nobody's", "kind": "seg"})


def test_a_case_keeps_its_name_when_series_come(tmp_path: Path) -> None:
    first = Study("p1", [Seg("", {"1": "a"})])
    later = Study("p1", [Seg("", {"1": "b"})], name="second")
    for name_by in ("folder", "series"):
        alone = rows(tmp_path / f"{name_by} 1", [first], {"name_by": name_by})
        both = rows(tmp_path / f"{name_by} 2", [first, later], {"name_by": name_by})
        kept = alone[0]["case_id"] in {row["case_id"] for row in both}
        assert kept == (name_by == "series")
        assert {row["patient_id"] for row in both} == {"p1"}


def test_folders_that_say_nothing(tmp_path: Path) -> None:
    """As newer downloads from TCIA: a folder a series, called by its UID."""
    studies = [Study("p1", [Rt("", ONE)]), Study("p2", [Seg("", {"1": "a"})])]
    reader = {"name_by": "series", "structures": "GTV|1", "clicks": "CLICK"}
    by_patient = rows(tmp_path / "a", studies, reader)
    flat = tmp_path / "b" / "raw"
    flat.mkdir(parents=True)
    for series in (tmp_path / "a" / "raw").glob("*/*/*/*"):
        series.rename(flat / series.name.partition("_")[2])
    by_series = rows(tmp_path / "b", [], reader)
    told = ("case_id", "patient_id", "voi_id", "status", "label_voxels_sha256")
    assert [[row[key] for key in told] for row in by_series] == [
        [row[key] for key in told] for row in by_patient
    ]


def test_scopes_by_object(tmp_path: Path) -> None:
    studies = [
        Study("p1", [Seg("some", {"1": "a"})]),
        Study("p2", [Seg("all of them", {"1": "a"})]),
        Study("p3", [Seg("", {"1": "a"})]),
    ]
    scopes = [{"series": "all.*", "scope": "all"}, {"series": "some", "scope": "some"}]
    found = rows(tmp_path, studies, annotation_scope="target", annotation_scopes=scopes)
    assert [row["annotation_scope"] for row in found] == ["some", "all", "target"]


@pytest.mark.parametrize(
    ("reader", "changes", "words"),
    [
        ({"clicks": "(", "structures": "a"}, {}, "regular expression"),
        ({"clicks": "a", "several": "latest"}, {}, "several"),
        ({"kind": "both"}, {}, "'any'"),
        ({"name_by": "study"}, {}, "'series'"),
        ({}, {"annotation_scope": "most"}, "annotation_scope"),
        ({}, {"annotation_scopes": [{"series": "a", "scope": "most"}]}, "scope"),
    ],
)
def test_what_a_recipe_may_not_say(tmp_path: Path, reader: Any, changes: Any, words: str) -> None:
    with pytest.raises(UlsDataError, match=words):
        rows(tmp_path, [], reader, **changes)
