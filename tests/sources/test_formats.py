"""The table of formats: whole, resolvable, and all that a new format has to touch."""

from __future__ import annotations

import ast
import sys
import types
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pytest
from makers.archives import KINDS

from uls_data.factory import build, run
from uls_data.factory.build_report import BuildReport
from uls_data.lesions.instances import find_lesions
from uls_data.manifest.parquet import iterate_rows
from uls_data.outcome import Reason
from uls_data.recipe import recipe_template
from uls_data.recipe.catalogue import LoadedRecipe, load_recipe
from uls_data.recipe.model import Recipe
from uls_data.recipe.part import CasePattern, PatientPattern, ReaderPart
from uls_data.recipe.reader import Reader
from uls_data.sources import FORMATS
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.format import Format, Search, _loaded
from uls_data.sources.opening import Opened, Opening
from uls_data.volumes import Volume
from uls_data.volumes.raw_root import RawRoot

ROOT = Path(__file__).parents[2]


def test_every_reader_of_recipes_is_in_the_table_and_no_other() -> None:
    union, *_ = get_args(Reader)
    assert set(get_args(union)) == FORMATS.keys()


def test_every_entry_leads_to_code() -> None:
    for one in FORMATS.values():
        assert callable(_loaded(one.find)) and callable(_loaded(one.open))


def test_nothing_else_asks_what_kind_of_reader_it_has() -> None:
    models = {model.__name__ for model in FORMATS}
    asked = []
    for path in (ROOT / "uls_data").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                names = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
                asked += [f"{path.name}:{node.lineno}"] if names & models else []
    assert asked == []


@pytest.mark.parametrize("name", KINDS)
def test_every_format_enters_what_it_selects(name: str, tmp_path: Path) -> None:
    """What is not entered cannot be missed: see `uls_data.sources.find.with_unaccounted`."""
    recipe = load_recipe(str(KINDS[name].make(tmp_path / "archive"))).recipe
    raw = tmp_path / "archive" / "raw"
    search = Search(recipe, RawRoot(raw))
    cases = FORMATS[type(recipe.reader)].found(search)
    held = {path for case in cases for path in case.held() if (raw / path).is_file()}
    assert held and held <= search.selected
    files = {path.relative_to(raw) for path in raw.rglob("*") if path.is_file()}
    loose = {path for path in files if path.suffix in (".png", ".raw")}
    assert files - loose == {path for path in search.selected if (raw / path).is_file()}


def test_an_archive_of_every_format_is_made() -> None:
    kinds = {
        "volume_pairs",
        "dicom_masks",
        "dicom_objects",
        "lidc_xml",
        "lndb",
        "deeplesion",
        "measurements",
    }
    models = {get_args(model.model_fields["name"].annotation)[0] for model in FORMATS}
    assert models == kinds | {"archive_only"} and len(KINDS) == len(kinds) + 1  # RTSTRUCT and SEG


class Toy(ReaderPart):
    """Arrays as `<case>.npy` and `<case>_mask.npy`."""

    name: Literal["toy"]
    case: CasePattern = r"[a-z]+"
    patient: PatientPattern = r"(.*)"


class ToyRecipe(Recipe):
    reader: Toy  # type: ignore[assignment]


def find_arrays(search: Search, reader: Toy) -> list[CaseFiles]:
    masks = [path for path in search.raw.walk() if path.name.endswith("_mask.npy")]
    cases = []
    for mask in sorted(masks):
        image = mask.with_name(mask.name.replace("_mask", ""))
        search.selected.add(mask)
        missing = not (search.raw.path / image).is_file()
        problem = (Reason.IMAGE_MISSING, "no array") if missing else None
        cases.append(CaseFiles(image.stem, image=image, mask=mask, problem=problem))
    return cases


def open_arrays(opening: Opening, reader: Toy) -> Opened:
    def read(path: Path | None) -> Volume:
        assert path is not None
        array = np.load(opening.raw / path)
        return Volume(array, np.diag([0.8, 0.8, 2.5, 1.0]), 1.0, 0.0, "a" * 64, ())

    scan, mask = read(opening.case.image), read(opening.case.mask)
    lesions = find_lesions(mask, opening.recipe, "mask")
    return opening.result(scan, None if opening.labels_only else scan, lesions)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A format that is one folder, one line in the table and one model; and an archive of it."""
    for name, function in (("find", find_arrays), ("lesions", open_arrays)):
        module = types.ModuleType(f"uls_data.sources.toy.{name}")
        module.entry = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(FORMATS, Toy, Format("toy.find:entry", "toy.lesions:entry"))
    raw = tmp_path / "raw"
    raw.mkdir()
    rng = np.random.default_rng(1)
    for case in "ab":
        mask = np.zeros((20, 18, 12), np.uint8)
        mask[4:10, 4:10, 3:8] = 1
        np.save(raw / f"{case}_mask.npy", mask)
        np.save(raw / f"{case}.npy", rng.integers(-100, 100, mask.shape).astype(np.int16))
    (raw / "b.npy").unlink()
    recipe = raw / "mine.yaml"
    recipe.write_text(recipe_template("mine"), encoding="utf-8")
    loaded = load_recipe(str(recipe))
    content = loaded.recipe.model_dump(mode="json") | {"reader": {"name": "toy"}}
    known = LoadedRecipe(ToyRecipe.model_validate(content), recipe, loaded.sha256)
    monkeypatch.setattr(run, "load_recipe", lambda _: known)
    return raw


def test_a_toy_format_builds(toy: Path, tmp_path: Path) -> None:
    made: BuildReport = build(toy / "mine.yaml", toy, tmp_path / "out")
    rows = [(row["case_id"], row["status"], row["reason"]) for row in iterate_rows(made.manifest)]
    assert rows == [("a", "ok", None), ("b", "failed", "image_missing")]
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 2
