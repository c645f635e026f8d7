"""Recipes: the shipped ones hold, and a wrong one says which field and how to fix it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from uls_data.errors import RecipeError
from uls_data.ids import voi_id
from uls_data.recipe import load_recipe, recipe_names, recipe_problems, recipe_template
from uls_data.recipe.model import QUIRK_MEANING, Quirk, SizeMeasure

# A case of each source of the contract, and its published name (lesion 3, first click).
EXAMPLES = {
    "ccc18": ("ccc18_0001", "ccc18_0001_sample_0"),
    "deeplesion": ("000001_01_01_109", "000001_01_01_109_sample_0"),
    "deeplesion3d": ("000010_02_02_100", "000010_02_02_100_lesion_03"),
    "kits21": ("case_00036", "kidney21_case_00036_lesion_03_sample_0"),
    "lidc_idri": ("0001", "lidcidri_0001_lesion_03_sample_0"),
    "lits": ("16", "liver_16_lesion_03_sample_0"),
    "lndb": ("LNDb_0001", "LNDb_0001_lesion_03_sample_0"),
    "mdsc_colon": ("colon_001", "colon_001_lesion_03_sample_0"),
    "mdsc_lung": ("lung_001", "lung_001_lesion_03_sample_0"),
    "mdsc_pancreas": ("pancreas_001", "pancreas_001_lesion_03_sample_0"),
    "nih_ln_abd": ("ABD_LYMPH_001", "ABD_LYMPH_001_lesion_03_sample_0"),
    "nih_ln_med": ("MED_LYMPH_001", "MED_LYMPH_001_lesion_03_sample_0"),
    "radboudumc_bone": ("bone_00002", "bone_00002_lesion_03"),
    "radboudumc_pancreas": ("diag_pancreas_0004", "diag_pancreas_0004_lesion_03"),
}
CONTRACT_NAMES = sorted(EXAMPLES)


def content(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = yaml.safe_load(recipe_template("mine"))
    for path, value in changes.items():
        *parents, last = path.split("__")
        here = base
        for part in parents:
            here = here[int(part)] if isinstance(here, list) else here[part]
        if value is None and last != "minimum_size":
            del here[last]
        else:
            here[last] = value
    return base


def write(folder: Path, what: dict[str, Any] | str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(what if isinstance(what, str) else yaml.safe_dump(what), encoding="utf-8")
    return path


def message(folder: Path, what: dict[str, Any] | str, name: str = "mine.yaml") -> str:
    path = write(folder, what, name)
    load_recipe.cache_clear()
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_every_source_of_the_contract_ships() -> None:
    assert set(recipe_names()) >= set(CONTRACT_NAMES)


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe(name: str) -> None:
    loaded = load_recipe(name)
    recipe = loaded.recipe
    assert recipe.source == name == loaded.path.parent.name
    assert len(set(recipe.heldout_patients)) == len(recipe.heldout_patients)
    raw = yaml.safe_load(loaded.path.read_text(encoding="utf-8"))
    assert all(isinstance(patient, str) for patient in raw.get("heldout_patients", []))
    assert recipe_problems(name) == []
    for patient in recipe.heldout_patients:
        assert recipe.split_of(patient) == "heldout"
        assert recipe.split_of(patient + "x") == "train"
    assert recipe.split_of(None) is None


@pytest.mark.parametrize("source", CONTRACT_NAMES)
def test_published_names_are_written_and_read_by_one_recipe(source: str) -> None:
    case, name = EXAMPLES[source]
    recipe = load_recipe(source).recipe
    # Weak sets number the lesions of a key slice from the second one.
    assert voi_id(recipe.voi_name, case, 3 if "{lesion" in recipe.voi_name else 1, 0) == name
    readers = [n for n in recipe_names() if load_recipe(n).recipe.voi_regex().fullmatch(name)]
    assert readers == [source]
    for lesion, sample in ((1, 0), (12, 2), (105, 11)):
        match = recipe.voi_regex().fullmatch(voi_id(recipe.voi_name, case, lesion, sample))
        assert match is not None and match["case"] == case
        assert int(match["lesion"] or 1) == lesion
        assert int(match["sample"] or 0) == sample


def test_patient_rule() -> None:
    kits = load_recipe("kits21").recipe
    assert kits.patient_of("case_00036") == "00036"
    assert kits.split_of(kits.patient_of("case_00036")) == "heldout"
    assert kits.patient_of("other") is None


def test_without_source_a_schema_lacks_only_descriptions() -> None:
    """As where the package is installed as bytecode."""
    made: dict[str, Any] = {"__name__": "elsewhere"}
    text = "from uls_data.recipe.part import Part\nclass Made(Part):\n    size: int\n    'Of it.'"
    exec(text, made)  # fixed text
    assert made["Made"].model_json_schema()["properties"] == {
        "size": {"title": "Size", "type": "integer"}
    }


WRONG = [
    # change, words that the message must hold
    ({"lesion_typ": "bone"}, ["lesion_typ", "no such field", "Did you mean lesion_type?"]),
    ({"reader__layout": []}, ["reader.layout", "Did you mean layouts?"]),
    ({"licence__nmae": "x"}, ["licence.nmae", "Did you mean name?"]),
    ({"licence": None}, ["licence", "missing", "Add `licence: ...`"]),
    ({"licence__evidence": None}, ["licence.evidence", "missing", "Add"]),
    ({"reader__layouts__0__mask": None}, ["reader.layouts.0", "needs mask or instances"]),
    ({"recipe_version": "first"}, ["recipe_version", "integer", "'first'", "Raised"]),
    ({"recipe_version": 0}, ["recipe_version", "greater than or equal to 1", "0"]),
    ({"title": 5}, ["title", "string", "5"]),
    ({"access": []}, ["access", "at least 1"]),
    ({"lesion_type": "tumour"}, ["lesion_type", "'kidney'", "'tumour'", "Choose one"]),
    ({"supervision": "half"}, ["supervision", "'weak_2d'", "'half'"]),
    ({"quirks": ["float_maks"]}, ["quirks.0", "float_mask", "'float_maks'"]),
    ({"schema_version": 2}, ["schema_version", "1", "found 2"]),
    ({"source": "My Source"}, ["source", "pattern", "'My Source'"]),
    ({"source": "../up"}, ["source", "'../up'"]),
    ({"reader__name": "dicom"}, ["reader", "volume_pairs", "dicom"]),
    ({"reader__name": "volume_pair"}, ["reader", "Did you mean volume_pairs?"]),
    ({"instances": {"rule": "watershed"}}, ["instances", "components", "watershed"]),
    ({"instances__connectivity": 8}, ["instances.connectivity", "26", "found 8"]),
    ({"instances__values": []}, ["instances.values", "at least 1"]),
    ({"minimum_size__at_least": 0}, ["minimum_size.at_least", "greater than 0"]),
    ({"minimum_size__measure": "length"}, ["minimum_size.measure", "long_axis_mm", "'length'"]),
    ({"reader__case": "("}, ["reader.case", "not a regular expression", "'('"]),
    ({"reader__patient": "[a"}, ["reader.patient", "not a regular expression"]),
    ({"reader__patient": "a+"}, ["reader.patient", "exactly one group", "'a+'"]),
    ({"reader__patient": "(a)(b)"}, ["reader.patient", "exactly one group"]),
    ({"reader__layouts__0__image": "../{case}.nii"}, ["reader.layouts.0.image", "no .."]),
    ({"reader__layouts__0__image": "/data/{case}.nii"}, ["reader.layouts.0.image", "no leading /"]),
    ({"reader__layouts__0__mask": "a/../{case}.nii"}, ["reader.layouts.0.mask", "no .."]),
    ({"reader__layouts__0__mask": "{case}_{lesion}.nii"}, ["layouts.0.mask", "{lesion}"]),
    ({"voi_name": "lesion_{lesion}"}, ["voi_name", "{case}"]),
    ({"voi_name": "a/{case}_{lesion}"}, ["voi_name", "not a path"]),
    ({"voi_name": "{case}"}, ["voi_name", "{lesion"]),
    ({"voi_name": "{case}_{lesion_index}"}, ["voi_name", "found '{lesion_index}'", "{lesion:02d}"]),
    ({"voi_name": "{case}_{lesion}_{index"}, ["voi_name", "found '{index'"]),
    ({"voi_name": "{case}}_{lesion}"}, ["voi_name", "found '}'"]),
    ({"voi_name": "{case:02d}_{lesion}"}, ["voi_name", "no number format"]),
    ({"voi_name": "{case}_{lesion}_{lesion}"}, ["voi_name", "once"]),
    ({"voi_name": "{case}{lesion}"}, ["voi_name", "between the fields"]),
    ({"voi_name": "{case}_{lesion}0{sample}"}, ["voi_name", "between the fields"]),
    ({"instances": {"rule": "files"}}, ["instances", "'two_folders'"]),
    ({"heldout_patients": [7, "8"]}, ["heldout_patients", "quotes", "7"]),
    ({"heldout_patients": [""]}, ["heldout_patients", "empty id"]),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=lambda value: str(value)[:48])
def test_wrong_fields(tmp_path: Path, change: dict[str, Any], words: list[str]) -> None:
    text = message(tmp_path, content(**change))
    for word in words:
        assert word in text, text
    assert "Traceback" not in text and "pydantic" not in text


def test_no_pattern_names_the_case(tmp_path: Path) -> None:
    changes = {"reader__layouts__0__image": "ct.nii", "reader__layouts__0__mask": "mask.nii"}
    text = message(tmp_path, content(**changes))
    assert "reader.layouts.0" in text and "{case}" in text


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, content(title=5, licence=None, lesion_typ="x"))
    load_recipe.cache_clear()
    problems = recipe_problems(str(path))
    assert len(problems) == 3
    assert all(any(field in p for p in problems) for field in ("title", "licence", "lesion_typ"))


def test_yaml_that_is_no_recipe(tmp_path: Path) -> None:
    good = yaml.safe_dump(content())
    assert "duplicate field 'title'" in message(tmp_path, good + "title: again\n")
    nested = good.replace("licence:\n", "licence:\n  name: xx\n", 1)
    assert "duplicate field 'name'" in message(tmp_path, nested)
    bomb = good.replace("title:", "notes: &a [x]\ncitation_: *a\ntitle:", 1)
    assert "aliases" in message(tmp_path, bomb)
    assert "not valid YAML" in message(tmp_path, "a: [1, 2")
    assert "not valid YAML" in message(tmp_path, "!!python/object/apply:os.system [ls]")
    assert "not valid YAML" in message(tmp_path, "{" * 3000)
    for other in ("- a list", "just words", "", "42"):
        assert "expected fields" in message(tmp_path, other)
    assert "1 MiB" in message(tmp_path, "# " + "x" * (1 << 20))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00title")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_recipe(str(tmp_path / "binary.yaml"))


def test_odd_keys_are_reported_not_raised(tmp_path: Path) -> None:
    for odd in ("? [a, b]\n: c\n", "? {a: b}\n: c\n", "1: one\n", "null: x\n", "2020-01-01: x\n"):
        message(tmp_path, yaml.safe_dump(content()) + odd)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean kits2[13]\?"):
        load_recipe("kits")
    with pytest.raises(RecipeError, match="recipe new"):
        load_recipe("nothing/like/it")


def test_folder_of_a_recipe(tmp_path: Path) -> None:
    write(tmp_path, content(), "recipe.yaml")
    assert load_recipe(str(tmp_path)).recipe.source == "mine"


@pytest.mark.parametrize("name", ["mine", "a", "set_2", "x" * 64])
def test_template_is_valid(tmp_path: Path, name: str) -> None:
    loaded = load_recipe(str(write(tmp_path, recipe_template(name), f"{name}.yaml")))
    assert loaded.recipe.source == name
    assert loaded.recipe.licence.redistributable is None


@pytest.mark.parametrize(
    "name", ["", "My", "2nd", "a-b", "a b", "../a", "a/b", "ä", "x" * 65, "a\n"]
)
def test_template_refuses_bad_names(name: str) -> None:
    with pytest.raises(RecipeError, match="lower-case"):
        recipe_template(name)


@pytest.mark.parametrize("origin", CONTRACT_NAMES)
def test_template_from_a_shipped_recipe(tmp_path: Path, origin: str) -> None:
    path = write(tmp_path, recipe_template("copy_of_it", origin))
    load_recipe.cache_clear()
    copy, original = load_recipe(str(path)).recipe, load_recipe(origin).recipe
    assert copy.source == "copy_of_it"
    assert copy.model_copy(update={"source": origin}) == original


def test_template_of_an_unknown_origin() -> None:
    with pytest.raises(RecipeError, match="lits"):
        recipe_template("mine", "litz")


def test_hash_follows_the_content_alone(tmp_path: Path) -> None:
    text = recipe_template("mine")
    first = load_recipe(str(write(tmp_path, text, "a.yaml"))).sha256
    assert re.fullmatch("[0-9a-f]{64}", first)
    bare = dict(reversed(content().items()))
    assert load_recipe(str(write(tmp_path, json.dumps(bare), "b.yaml"))).sha256 == first
    seen = {first}
    changes: list[dict[str, Any]] = [
        {"title": "Other"},
        {"recipe_version": 2},
        {"quirks": []},
        {"heldout_patients": ["1"]},
        {"minimum_size": None},
        {"instances__values": [2]},
    ]
    for at, change in enumerate(changes):
        seen.add(load_recipe(str(write(tmp_path, content(**change), f"{at}.yaml"))).sha256)
    assert len(seen) == 1 + len(changes)


def test_every_quirk_and_measure_is_explained() -> None:
    assert set(QUIRK_MEANING) == set(Quirk)
    template = recipe_template("mine")
    assert all(measure.value in template for measure in SizeMeasure)
