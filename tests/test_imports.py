"""What is loaded when, and what the installed wheel finds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

import uls_data

HELP = "from uls_data.cli import main\ntry:\n    main([{}])\nexcept SystemExit:\n    pass"
HEAVY = {"torch", "monai", "dask", "distributed", "pandas", "scipy"}


@pytest.mark.parametrize(
    "code",
    [
        "import uls_data",
        HELP.format("'--help'"),
        HELP.format("'build', '--help'"),
    ],
    ids=["import", "help", "build-help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    report = "\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}
    assert "uls_data" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("uls_data.factory.run", {"nibabel"}),
        ("uls_data.factory.case", {"nibabel", "pyarrow", "click", "psutil"}),
        ("uls_data.__main__", {"numpy", "click"}),  # all workers import it
    ],
    ids=["a build", "a worker", "main"],
)
def test_a_build_and_its_workers_start_lightly(module: str, absent: set[str]) -> None:
    """Tests and clusters start hundreds of them; what only some cases need is loaded for those."""
    absent = absent | HEAVY | {"SimpleITK", "PIL", "cv2", "skimage", "matplotlib", "pydicom"}
    code = f"import sys, {module}\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {name.split(".")[0] for name in result.stdout.split()} & absent


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    """What a new process sees of the package, once the modules of its functions are loaded."""
    code = (
        "import uls_data, pydoc, json\n"
        "import uls_data.factory, uls_data.manifest.index, uls_data.manifest.query\n"
        "import uls_data.manifest.stats\n"
        "found = {'dir': dir(uls_data), 'all': uls_data.__all__}\n"
        "names = [name for name in uls_data.__all__ if name != '__version__']\n"
        "found['callable'] = all(callable(getattr(uls_data, name)) for name in names)\n"
        "found['help'] = pydoc.plain(pydoc.render_doc(uls_data))\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_functions_survive_the_import_of_their_modules(package: dict[str, Any]) -> None:
    """A submodule of the same name would take a function's place in the package."""
    assert package["callable"]


@pytest.mark.slow
def test_wheel_carries_recipes_and_schemas(tmp_path: Path) -> None:
    """Build the wheel, install it elsewhere, and let it find what ships with it."""
    root = Path(__file__).parent.parent
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "uls_data/shipped/recipes/kits21/recipe.yaml" in names
    assert "uls_data/shipped/manifests/schema/lesion.json" in names
    assert "uls_data/reporting/assets/report.html" in names
    elsewhere = tmp_path / "env"
    # The dependencies of this environment serve; the package itself comes from the wheel.
    venv.create(elsewhere, with_pip=False)
    (site,) = elsewhere.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    dependencies = next(p for p in sys.path if p.endswith("site-packages"))
    (site / "dependencies.pth").write_text(dependencies + "\n")
    code = (
        "import uls_data, json\n"
        "from uls_data.recipe import recipe_names, load_recipe\n"
        "from uls_data.manifest.schema import arrow_schema\n"
        "sources = [load_recipe(n).recipe.source for n in recipe_names()]\n"
        "print(json.dumps([uls_data.__file__, sources, len(arrow_schema())]))"
    )
    result = subprocess.run(
        [elsewhere / "bin" / "python", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    file, recipes, columns = json.loads(result.stdout)
    assert Path(file).is_relative_to(elsewhere)
    assert len(recipes) == len(list((root / "recipes").glob("*/recipe.yaml"))) > 14
    assert columns > 80


@pytest.mark.slow
def test_dir_and_help_tell_every_public_name(package: dict[str, Any]) -> None:
    shown, names, text = package["dir"], package["all"], package["help"]
    assert sorted(shown) == sorted(names)
    functions = [name for name in names if name[0].islower()]
    assert names == [*functions, *(name for name in names if name not in functions)]
    described = text[: text.index("PACKAGE CONTENTS")]
    assert all(re.search(rf"\b{name}\b", described) for name in functions)
    assert all(f"{name}(" in text for name in functions)


def test_types_travel_with_the_package() -> None:
    assert (Path(uls_data.__file__).parent / "py.typed").is_file()
