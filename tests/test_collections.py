"""Recipes of public DICOM collections, from folders as `idc download` makes them to golden rows."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest
from makers.collection_table import COLLECTIONS, VOLUMES, make
from makers.shared import Shared
from test_recipes import GOLDEN, plain

import uls_data
from tools.collections import counted, read_index, shared_scans
from tools.pins import index_version
from uls_data.fetching.series_list import read_series
from uls_data.manifest.patients import patient_space
from uls_data.recipe import load_recipe, recipe_names

COLUMNS = (
    *("annotation_scope", "click_source", "study_instance_uid", "detail"),
    *("lesion_track_id", "study_day"),
)


@pytest.fixture(scope="session")
def built(shared: Shared) -> Any:
    """Rows of each source's archive, built once."""

    def rows(source: str) -> list[dict[str, Any]]:
        raw = shared.once(f"raw-{source}", lambda to: make(source, to))
        out = shared.once(
            f"labels-{source}", lambda to: uls_data.build(source, raw, to, labels_only=True)
        )
        found: list[dict[str, Any]] = uls_data.load_manifest(out).to_dict("records")
        return [{key: _json(value) for key, value in row.items()} for row in found]

    return rows


def _json(value: Any) -> Any:
    """Value as JSON gives it back."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if value is None or value != value or str(value) == "<NA>" else value


def test_every_recipe_of_a_collection_has_an_archive() -> None:
    pinned = {name for name in recipe_names() if load_recipe(name).recipe.expect.counts}
    assert pinned == set(COLLECTIONS)


@pytest.mark.parametrize("source", COLLECTIONS)
def test_recipes_are_short_and_say_where_they_know_from(source: str) -> None:
    loaded = load_recipe(source)
    text = loaded.path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    recipe = loaded.recipe
    assert "idc-index-data" in recipe.licence.evidence and "doi:10." in recipe.citation
    assert recipe.fetch is not None and recipe.fetch.idc is not None and recipe.notes
    assert not list(loaded.path.parent.glob("*.py"))


@pytest.mark.parametrize("source", [*COLLECTIONS, *VOLUMES])
def test_golden_rows(source: str, built: Any, update_golden: bool) -> None:
    rows = [plain(row) | {one: row[one] for one in COLUMNS} for row in built(source)]
    path = GOLDEN / f"{source}.jsonl"
    if update_golden:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    golden = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert json.loads(json.dumps(rows)) == golden


def test_lesions_of_all_organs_are_centred_on_the_click_of_a_reader(built: Any) -> None:
    """EAY131: structure sets and segmentations, each with a point in an object of its own."""
    rows = built("eay131")
    lesions = [row for row in rows if row["status"] == "ok"]
    assert sorted(row["lesion_type"] for row in lesions) == ["liver", "liver", "lung", "lymph_node"]
    assert {row["click_source"] for row in lesions} == {"human"}
    # Each names the object of its lesion and that of its point; the fifth point has a row.
    assert [row["source_lesion_id"].count("+") for row in lesions] == [1, 1, 1, 1]
    (left,) = [row for row in rows if row["status"] != "ok"]
    assert (left["reason"], left["click_source"]) == ("point_mark", None)
    # One liver lesion is followed from the first study to the second; dates are moved to 1959.
    livers = [row for row in lesions if row["lesion_type"] == "liver"]
    assert {row["study_day"] for row in livers} == {0, 78}
    assert len({row["lesion_track_id"] for row in livers}) == 1
    assert len({row["lesion_track_id"] for row in lesions}) == 3
    # Centres of the balls, as columns and rows of the slices: x and y run the other way in RAS.
    clicks = {(row["click_x_vox"], row["click_y_vox"], row["click_z_vox"]) for row in lesions}
    centres = ((8, 9, 3), (22, 10, 4), (9, 9, 3), (15, 24, 4))
    assert clicks == {(31 - x, 31 - y, z) for x, y, z in centres}


@pytest.mark.parametrize("source", COLLECTIONS)
def test_what_people_typed_reaches_no_row(source: str, built: Any) -> None:
    names = re.compile(
        r"Nobody|GTV|SEED POINT|LIVER -|Pre-Dose|Tumou?r[_ ]|Nodule \d|19010203", re.I
    )
    for row in built(source):
        said = {key: value for key, value in row.items() if key not in ("licence", "lesion_type")}
        # A message may quote the recipe's own expression.
        said["detail"] = re.sub(r"'\(\?i:.*?'", "", said["detail"] or "")
        assert not names.search(json.dumps(said)), row


@pytest.mark.parametrize("source", COLLECTIONS)
def test_the_list_to_download_is_what_the_recipe_counts(source: str) -> None:
    loaded = load_recipe(source)
    recipe, counts = loaded.recipe, loaded.recipe.expect.counts
    assert counts is not None and recipe.fetch is not None and recipe.fetch.idc is not None
    listed = read_series(loaded.path.parent / recipe.fetch.idc.series, recipe.fetch.idc.index)
    assert sum(one.modality == "CT" for one in listed) == counts.images
    assert round(sum(one.size_bytes for one in listed) / 1e9, 1) == counts.gigabytes
    patients = {one.patient_id for one in listed}
    assert len(patients) >= counts.patients
    # Folders that `fetch` and `idc download` make are called after them.
    assert all(re.fullmatch(recipe.reader.case, patient) for patient in patients)
    assert None not in {recipe.patient_of(f"{patient}_1.2.3") for patient in patients}


def test_counts_are_those_of_the_index() -> None:
    package = pytest.importorskip("idc_index_data", reason="pip install idc-index-data==25.0.5")
    path = package.IDC_INDEX_PARQUET_FILEPATH
    index, version = read_index(path), index_version(path)
    for source in COLLECTIONS:
        recipe = load_recipe(source).recipe
        assert recipe.fetch is not None and recipe.fetch.idc is not None
        if recipe.fetch.idc.index != version:
            pytest.skip(f"recipes are of idc-index-data {recipe.fetch.idc.index}, not {version}")
        assert counted(recipe, index) == recipe.expect.counts, source


def test_scans_of_two_collections_are_known_by_their_uids() -> None:
    """docs/collections.md has the numbers; patients of these sources are one and the same."""
    assert shared_scans() == {("lidc_idc", "lidc_idri"): 883}
    told: dict[str, set[tuple[str, str]]] = {"series": set(), "patient": set(), "voxels": set()}
    for name in recipe_names():
        for overlap in load_recipe(name).recipe.overlaps:
            first, second = sorted((name, overlap.source))
            told[overlap.told_by].add((first, second))
    assert told["series"] == shared_scans().keys()
    by_name = told["series"] | told["patient"]
    for first, second in by_name:
        one, two = load_recipe(first).recipe, load_recipe(second).recipe
        assert patient_space(one.source) == patient_space(two.source)
    # What one name is for two sources is told by the recipe of one.
    spaces = [(a, b) for a, b in combinations(sorted(recipe_names()), 2)]
    same = {(a, b) for a, b in spaces if patient_space(a) == patient_space(b)}
    assert same - by_name <= {("c4kc_kits", "kits23")}  # by way of kits21
    for source, other in (("lidc_idc", "lidc_idri"), ("c4kc_kits", "kits21"), ("kits23", "kits21")):
        one, two = load_recipe(source).recipe, load_recipe(other).recipe
        assert set(one.heldout_patients) <= set(two.heldout_patients)
        assert one.heldout_patients
    assert all(patient_space(a) != patient_space(b) for a, b in told["voxels"])
