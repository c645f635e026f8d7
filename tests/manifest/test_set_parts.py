"""Parts of a set: whole patients, as many lesions of each kind as wanted, same for same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from makers.own_lines import write_recipe
from pydantic import ValidationError

from uls_data.cli import cli
from uls_data.errors import ManifestError
from uls_data.manifest import write_manifest
from uls_data.manifest.set_parts import split
from uls_data.recipe import load_recipe


def lesion(source: str, patient: str | None, index: int, **changes: Any) -> dict[str, Any]:
    row = {"source": source, "case_id": f"{patient}-scan", "patient_id": patient}
    row |= {"lesion_index": index, "sample_index": 0, "layer": "annotated", "status": "ok"}
    return {**row, "voi_id": f"{source}-{patient}-{index}", "label_path": "x", **changes}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two centres of 20 patients with 1 to 4 lesions each, of two types."""
    for source in ("north", "south"):
        rows = [
            lesion(source, f"p{number:02d}", index, lesion_type=["liver", "lung"][index % 2])
            for number in range(20)
            for index in range(1, 2 + number % 4)
        ]
        # A second click and a second layer of a lesion are not further lesions.
        for again in ({"sample_index": 1}, {"layer": "jury"}):
            rows.append(lesion(source, "p00", 1, lesion_type="lung", **again))
        rows += [lesion(source, "p01", 9, status="skipped", reason="below_minimum_size")]
        write_manifest(rows, tmp_path / "manifest" / f"{source}.parquet")
    return tmp_path


@pytest.mark.parametrize("seed", range(5))
def test_as_many_of_each_centre_and_no_patient_in_two_parts(archive: Path, seed: int) -> None:
    found = split(archive, 12, rest="test", seed=seed)
    assert found.rest is not None
    assert found.drawn.lesions == {"north": 12, "south": 12}
    assert found.rest.lesions == {"north": 38, "south": 38}
    for source in ("north", "south"):
        ours, theirs = found.drawn.patients[source], found.rest.patients[source]
        assert not set(ours) & set(theirs) and len(ours) + len(theirs) == 20
        lesions = sum(1 + int(patient[1:]) % 4 for patient in ours)
        assert lesions == 12
    assert split(archive, 12, rest="test", seed=seed) == found
    assert split(archive, 12, seed=seed + 100).drawn != found.drawn


def test_balance_by_type_and_values_that_stay_short(archive: Path) -> None:
    found = split(archive, 10, by="lesion_type", name="tuning")
    # Every patient with a liver lesion has one of the lung too, most of them as many or one more.
    assert found.drawn.lesions["lung"] == 10 and 8 <= found.drawn.lesions["liver"] <= 10
    assert found.rest is None
    most = split(archive, 1000, by="lesion_type").drawn
    assert sum(most.lesions.values()) == 100
    said = CliRunner().invoke(cli, ["split", str(archive), "--lesions", "60"])
    assert said.exit_code == 0
    assert "Fewer than 60 lesions: 50 of north, 50 of south" in said.output


@pytest.mark.parametrize("shared", ["image_source_sha256", "lesion_track_id"])
def test_patients_of_one_scan_or_lesion_stay_together(tmp_path: Path, shared: str) -> None:
    rows = [
        lesion("north", f"p{number}", 1, **{shared: f"{number // 4}" * 64}) for number in range(16)
    ]
    write_manifest(rows, tmp_path / "m.parquet")
    (ids,) = split(tmp_path / "m.parquet", 6).drawn.patients.values()
    groups = Counter(int(name[1:]) // 4 for name in ids)
    assert set(groups.values()) == {4} and len(ids) == 4


def test_what_is_in_a_part_already_or_of_nobody_is_left_out(tmp_path: Path) -> None:
    rows = [lesion("north", f"p{number}", 1) for number in range(6)]
    rows += [lesion("north", "p9", index, source_split="validation") for index in (1, 2)]
    rows += [lesion("north", None, 1)]
    write_manifest(rows, tmp_path / "m.parquet")
    found = split(tmp_path / "m.parquet", 100, name="test")
    assert found.drawn.patients == {"north": [f"p{number}" for number in range(6)]}
    assert sum(found.left_out.values()) == 3
    write_manifest(rows[-1:], tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match="1 of unknown patients"):
        split(tmp_path / "m.parquet", 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lesions": 0},
        {"by": "affine"},
        {"by": "nothing"},
        {"name": "A b"},
        {"rest": "../x"},
        {"rest": "validation"},
    ],
)
def test_what_cannot_be_drawn(archive: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        split(archive, **{"lesions": 5, **wrong})


def test_what_it_prints_is_what_a_recipe_takes(archive: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(cli, ["split", str(archive), "--lesions", "5", "--rest", "test"])
    north = yaml.safe_load(said.output.partition("north:\n")[2].partition("\n\n")[0])
    path = write_recipe(tmp_path / "own.yaml", "north", objects=["sr"], patient="(p[0-9]+).*")
    parted = tmp_path / "parted.yaml"
    parted.write_text(path.read_text() + yaml.safe_dump(north))
    loaded = load_recipe(str(parted))
    assert loaded.sha256 != load_recipe(str(path)).sha256
    recipe = loaded.recipe
    parts = Counter(recipe.part_of(f"p{number:02d}") for number in range(20))
    assert set(parts) == {"validation", "test"} and sum(parts.values()) == 20
    assert recipe.part_of("p99") is None and recipe.part_of(None) is None
    twice = {"splits": {"validation": ["p01"], "test": ["p01"]}}
    with pytest.raises(ValidationError, match="is listed twice"):
        type(recipe).model_validate({**recipe.model_dump(), **twice})
