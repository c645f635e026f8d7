"""What is handed out: the wheel, the source distribution and what they say about themselves."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.message import Message
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import uls_data

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Absolute paths of a machine; what documents call /data or /tmp is an example.
PRIVATE = re.compile(rb"/(home|root|Users|work|mnt)/\w|\b[\w.-]+@[\w-]+\.[a-z]{2,}\b")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def tracked(*folders: str) -> set[str]:
    """Names below folders of the checkout that are not caches."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


def as_in_checkout(name: str) -> str:
    return name.removeprefix("uls_data/shipped/")


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel: zipfile.ZipFile) -> None:
    names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    assert {as_in_checkout(name) for name in names} == tracked("uls_data", "recipes", "manifests")
    assert {
        "uls_data/py.typed",
        "uls_data/shipped/recipes/kits21/recipe.yaml",
        "uls_data/shipped/manifests/schema/lesion.json",
        "uls_data/reporting/assets/report.html",
        "uls_data/triage/assets/triage.js",
    } <= names


def test_no_private_path_or_address_travels(wheel: zipfile.ZipFile) -> None:
    found = {name: PRIVATE.search(wheel.read(name)) for name in wheel.namelist()}
    text = {name: match for name, match in found.items() if not name.endswith(".parquet")}
    assert len(text) > 400
    assert {name: match.group() for name, match in text.items() if match} == {}


def test_the_source_distribution_can_be_tested_and_built_from(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    folders = ("uls_data", "recipes", "manifests", "tests", "docs", "demo", "tools", "benchmarks")
    assert tracked(*folders) <= names
    assert {"LICENSE", "NOTICE", "Makefile", "constraints.txt", "pyproject.toml"} <= names
    assert not {n for n in names if n.startswith((".git/", ".venv", ".ci/")) or "__pycache__" in n}


def test_the_origin_of_every_data_file_is_in_the_notice(wheel: zipfile.ZipFile) -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    patterns = re.findall(r"^((?:uls_data|recipes|manifests)/\S+)", notice, flags=re.MULTILINE)
    names = {
        as_in_checkout(name)
        for name in wheel.namelist()
        if not name.endswith(".py") and ".dist-info/" not in name
    }
    assert {name for name in names if not any(fnmatch(name, p) for p in patterns)} == set()
    assert {p for p in patterns if not any(fnmatch(name, p) for name in names)} == set()


def test_metadata(metadata: Message) -> None:
    assert metadata["Version"] == uls_data.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("License-File", [])) == {"LICENSE", "NOTICE"}
    python = [c for c in metadata.get_all("Classifier", []) if ":: 3." in c]
    assert [c.rpartition(" ")[2] for c in python] == ["3.11", "3.12", "3.13"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(
        PROJECT["project"]["optional-dependencies"]
    )


def test_the_page_on_pypi_has_no_relative_link(metadata: Message) -> None:
    page = metadata.get_payload()
    assert isinstance(page, str)
    assert page.startswith("# uls-data")
    assert len(page) > 3000
    targets = re.findall(r"\]\(([^)]*)\)", page)
    assert targets
    assert all(target.startswith("https://") for target in targets)


def test_one_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(cited["version"]) == uls_data.__version__
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest
    assert newest.group(1) == uls_data.__version__


@pytest.mark.slow
def test_an_installed_wheel_finds_recipes_and_schemas(
    built: Path, wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "env"
    # The dependencies of this environment serve; the package itself comes from the wheel.
    venv.create(elsewhere, with_pip=False)
    (site,) = elsewhere.glob("lib/python*/site-packages")
    wheel.extractall(site)
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
    assert len(recipes) == len(list((ROOT / "recipes").glob("*/recipe.yaml"))) > 14
    assert columns > 80
