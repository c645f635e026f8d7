"""The type of a lesion by the name of its structure, or by its segment's codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from makers import archives

import uls_data
from uls_data.errors import UlsDataError


def typed(folder: Path, kind: str, types: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows of an archive's build whose recipe says these types."""
    folder.mkdir(exist_ok=True)
    path = archives.KINDS[kind].make(folder)
    recipe = yaml.safe_load(path.read_text())
    recipe |= {"lesion_type": "various", "lesion_types": types}
    path.write_text(yaml.safe_dump(recipe))
    uls_data.build(str(path), folder / "raw", folder / "out")
    for file in (folder / "out").rglob("*"):
        assert b"GTV" not in (file.read_bytes() if file.is_file() else b"")
    table = uls_data.load_manifest(folder / "out")
    return table[table["case_id"] == "patient_1"].to_dict("records")


def test_names_of_rois(tmp_path: Path) -> None:
    types = [
        {"name": "(?i:heart)", "type": "mediastinum"},
        {"name": "gtv-1", "type": "bone"},
        {"name": "(?i:gtv-1)", "type": "liver"},
        {"name": ".*", "type": "kidney"},
    ]
    rows = typed(tmp_path, "rtstruct", types)
    assert [(row["source_lesion_id"], row["lesion_type"]) for row in rows] == [
        ("roi-1", "liver"),
        ("roi-2", "kidney"),
    ]


def test_without_a_fit_the_recipe_says(tmp_path: Path) -> None:
    rows = typed(tmp_path, "rtstruct", [{"name": "GTV-2", "type": "lung"}])
    assert [row["lesion_type"] for row in rows] == ["various", "lung"]


def test_codes_and_labels_of_segments(tmp_path: Path) -> None:
    """Segment 1 covers both components, segment 2 the first alone."""
    coded = typed(tmp_path / "a", "seg", [{"code": "SRT:M-03010", "type": "colon"}])
    assert {row["lesion_type"] for row in coded} == {"colon"} and len(coded) == 2
    labelled = [
        {"name": "Lesion 1", "type": "liver"},
        {"code": "SRT:M-03010", "type": "colon"},
    ]
    rows = typed(tmp_path / "b", "seg", labelled)
    found = {row["source_lesion_id"]: row["lesion_type"] for row in rows}
    assert found == {"segment-1": "liver", "segment-1+segment-2": "various"}


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ([{"type": "liver"}], "either a name or a code"),
        ([{"name": "a", "code": "SCT:1", "type": "liver"}], "either a name or a code"),
        ([{"name": "(", "type": "liver"}], "regular expression"),
        ([{"code": "liver", "type": "liver"}], "code"),
        ([{"name": "a", "type": "livers"}], "type"),
    ],
)
def test_what_a_recipe_may_not_say(tmp_path: Path, types: list[dict[str, str]], words: str) -> None:
    with pytest.raises(UlsDataError, match=words):
        typed(tmp_path, "rtstruct", types)


def test_only_of_readers_that_know_structures(tmp_path: Path) -> None:
    with pytest.raises(UlsDataError, match="knows no structures"):
        typed(tmp_path, "pairs", [{"name": "a", "type": "liver"}])
