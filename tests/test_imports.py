"""What is loaded when, and what the package shows of itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
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
        ("uls_data.factory.case", {"nibabel", "pyarrow", "click", "psutil", "yaml", "email"}),
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


def test_a_command_does_not_look_for_plugins_of_pydantic() -> None:
    # It would open every package that is installed.
    watched = (
        "import sys\nopened = []\n"
        "sys.addaudithook(lambda event, about: event == 'open' and opened.append(str(about[0])))\n"
    )
    recipe = HELP.format("'recipe', 'check', 'lits'")
    code = f"{watched}{recipe}\nprint(*opened, sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    names = [Path(line).name for line in result.stdout.splitlines()]
    assert "recipe.yaml" in names
    assert "entry_points.txt" not in names


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
