"""The type of a lesion by the name of its structure, or by its segment's codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from makers import archives

import uls_data
from uls_data.errors import UlsDataError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recipes of archives, beside their `raw`."""
    return {
        kind: archives.KINDS[kind].make(tmp_path_factory.mktemp(kind))
        for kind in ("rtstruct", "seg", "pairs")
    }


def typed(folder: Path, made: Path, types: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows of a patient's build whose recipe says these types."""
    folder.mkdir(exist_ok=True)
    content = yaml.safe_load(made.read_text())
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(content | {"lesion_type": "various", "lesion_types": types}))
    report = uls_data.build(
        recipe, made.parent / "raw", folder / "out", labels_only=True, only=["patient_1"]
    )
    table = uls_data.load_manifest(report.manifest)
    # What somebody called a structure is for the choice of its type alone.
    assert not re.search("GTV|Lesion", table.to_csv())
    return table.to_dict("records")


def test_names_of_rois(made: dict[str, Path], tmp_path: Path) -> None:
    types = [
        {"name": "(?i:heart)", "type": "mediastinum"},
        {"name": "gtv-1", "type": "bone"},
        {"name": "(?i:gtv-1)", "type": "liver"},
        {"name": ".*", "type": "kidney"},
    ]
    rows = typed(tmp_path, made["rtstruct"], types)
    assert [(row["source_lesion_id"], row["lesion_type"]) for row in rows] == [
        ("roi-1", "liver"),
        ("roi-2", "kidney"),
    ]


def test_without_a_fit_the_recipe_says(made: dict[str, Path], tmp_path: Path) -> None:
    rows = typed(tmp_path, made["rtstruct"], [{"name": "GTV-2", "type": "lung"}])
    assert [row["lesion_type"] for row in rows] == ["various", "lung"]


def test_codes_and_labels_of_segments(made: dict[str, Path], tmp_path: Path) -> None:
    """Segment 1 covers both components, segment 2 the first alone."""
    coded = typed(tmp_path / "a", made["seg"], [{"code": "SRT:M-03010", "type": "colon"}])
    assert {row["lesion_type"] for row in coded} == {"colon"} and len(coded) == 2
    labelled = [
        {"name": "Lesion 1", "type": "liver"},
        {"code": "SRT:M-03010", "type": "colon"},
    ]
    rows = typed(tmp_path / "b", made["seg"], labelled)
    found = {row["source_lesion_id"]: row["lesion_type"] for row in rows}
    assert found == {"segment-1": "liver", "segment-1+segment-2": "various"}


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ([{"type": "liver"}], "one of name, series and code"),
        ([{"name": "a", "code": "SCT:1", "type": "liver"}], "one of name, series and code"),
        ([{"name": "(", "type": "liver"}], "regular expression"),
        ([{"code": "liver", "type": "liver"}], "code"),
        ([{"name": "a", "type": "livers"}], "type"),
    ],
)
def test_what_a_recipe_may_not_say(
    made: dict[str, Path], tmp_path: Path, types: list[dict[str, str]], words: str
) -> None:
    with pytest.raises(UlsDataError, match=words):
        typed(tmp_path, made["rtstruct"], types)


def test_only_of_readers_that_know_structures(made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UlsDataError, match="has no structures"):
        typed(tmp_path, made["pairs"], [{"name": "a", "type": "liver"}])
