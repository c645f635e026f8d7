"""Data flows one way: a module imports its own room and rooms that stand before it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import uls_data

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "uls_data"
# Later lines may import earlier ones, never the other way; rooms of one line are strangers.
STAGES = [
    ["_version", "ids", "outcome", "profile", "resources"],
    ["errors"],
    ["io", "yaml_text"],
    ["engine", "geometry", "recipe"],
    ["volumes"],
    ["dicom", "fetching", "nifti_writer", "tables", "voi"],
    ["measure"],
    ["lesions", "manifest", "mining", "pseudomask"],
    ["ensemble"],
    ["certificates", "passports"],
    ["filtering", "pictures", "sources"],
    ["factory", "scoring"],
    ["errata", "network"],
    ["auditing", "export", "loop", "provenance", "release", "reporting", "triage"],
    ["cli"],
]
# Only these rooms know these libraries.
ONLY = {
    "dask": {"engine"},
    "distributed": {"engine"},
    "SimpleITK": set[str](),
    "pydicom": {"dicom"},
    "highdicom": {"dicom"},
    "defusedxml": {"mining", "sources"},
    "pandas": {"manifest", "cli"},
    "click": {"cli"},
    "jinja2": {"reporting"},
    "matplotlib": {"pictures"},
    "PIL": {"pictures", "sources"},
    "cv2": {"pseudomask"},
    "skimage": {"pseudomask"},
    "torch": {"network"},
    "triton": {"network"},
    "monai": set[str](),
    "dynamic_network_architectures": {"network"},
    "onnxruntime": {"ensemble"},
    "blosc2": {"volumes"},
    "pooch": {"fetching"},
    "requests": {"fetching"},
}
# Only these know the formats of raw archives.
KNOW_SOURCES = {"factory", "provenance", "cli", "sources"}
# Names that several rooms share because they mean the same there.
SHARED_NAMES = {
    *("find.py", "lesions.py", "table.py"),  # of each format: its cases, its lesions, its table
    *("doctor.py", "index.py", "lndb_prep.py", "query.py", "stats.py"),  # commands, skins in cli
}
# Found by the libraries that they extend, never imported.
PLUGINS = {"pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"}
LONGEST_FILE = 400
RANK = {name: rank for rank, names in enumerate(STAGES) for name in names}


@cache
def modules() -> dict[str, Path]:
    """Modules of the package by their dotted names, the root and `__main__` left out."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name not in ("uls_data", "uls_data.__main__"):
            found[name] = path
    return found


def room_of(module: str) -> str:
    return module.split(".")[1]


def _plain(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


@cache
def imported(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def arrows() -> dict[str, set[str]]:
    """Modules of the package that each module imports."""
    known = modules()
    packages = {name for name, path in known.items() if path.name == "__init__.py"}
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        others = {other for other in imported(path) if other in known and other != name}
        # What is imported out of a package is its module, not what the package exports.
        inside = {other.rpartition(".")[0] for other in others}
        found[name] = others - (packages & inside)
    return found


def test_every_room_has_a_place() -> None:
    assert {room_of(name) for name in modules()} == set(RANK)


def test_no_arrow_up_and_none_between_strangers() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in arrows().items()
        for other in others
        if room_of(name) != room_of(other) and RANK[room_of(other)] >= RANK[room_of(name)]
    ]
    assert wrong == []


def test_nothing_inside_imports_what_stands_beside() -> None:
    """Neither demo and tools, nor the functions that the package exports from all its rooms."""
    public = {f"uls_data.{name}" for name in uls_data.__all__} - {"uls_data.__version__"}
    wrong = [
        f"{name} imports {other}"
        for name, path in modules().items()
        for other in imported(path)
        if other.split(".")[0] in ("demo", "tools", "benchmarks", "tests")
        or (other in public - modules().keys() and room_of(name) != "cli")
    ]
    assert wrong == []


def test_no_circle() -> None:
    graph = arrows()
    state: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        state[name] = 1
        for other in graph[name]:
            if state.get(other) == 1:
                pytest.fail(" -> ".join([*path[path.index(other) :], other]))
            if other not in state:
                visit(other, (*path, other))
        state[name] = 2

    for name in graph:
        if name not in state:
            visit(name, (name,))


def test_formats_are_known_to_few() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in arrows().items()
        for other in others
        if room_of(other) == "sources" and room_of(name) not in KNOW_SOURCES
    ]
    assert wrong == []


def test_libraries_stay_where_they_belong() -> None:
    strays = [
        f"{name} imports {library}"
        for name, path in modules().items()
        for library in {other.split(".")[0] for other in imported(path)} & ONLY.keys()
        if room_of(name) not in ONLY[library]
    ]
    assert strays == []


def test_dependencies_are_what_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def named(requirements: list[str]) -> set[str]:
        return {_plain(re.split(r"[\[<>=! ;]", one)[0]) for one in requirements}

    distributions = packages_distributions()
    used = {
        _plain(distribution)
        for path in modules().values()
        for name in {other.split(".")[0] for other in imported(path)}
        for distribution in distributions.get(name, [])
    }
    required = named(project["dependencies"])
    optional = named(project["optional-dependencies"]["network"])
    assert required <= used | PLUGINS
    # These are used where somebody has them.
    assert (
        used
        - {
            "uls-data",
            "blosc2",
            "highdicom",
            "onnxruntime",
            "openpyxl",
            "pooch",
            "requests",
            "tensorboard",
            "triton",
        }
        <= required | optional
    )


def test_one_name_means_one_thing() -> None:
    places = defaultdict(list)
    for path in modules().values():
        if path.name != "__init__.py":
            places[path.name].append(path.relative_to(PACKAGE).as_posix())
    assert {name for name, paths in places.items() if len(paths) > 1} <= SHARED_NAMES, places


def test_no_file_is_too_long() -> None:
    long = {}
    for folder in ("uls_data", "tests", "demo", "tools", "benchmarks", "docker"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > LONGEST_FILE:
                long[path.relative_to(ROOT).as_posix()] = lines
    assert long == {}
