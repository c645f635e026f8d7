"""Data flows one way: a module imports its own stage, earlier stages and shared ground only."""

from __future__ import annotations

import ast
from pathlib import Path

import uls_data

PACKAGE = Path(__file__).parent.parent / "uls_data"

# Later lines may import earlier ones, never the other way. Names on one line are
# one stage, whose modules may import each other.
STAGES = [
    ["outcome", "profile", "resources"],
    ["errors", "ids"],
    ["geometry", "io", "engine"],
    ["axes", "canonical", "recipe", "recist"],
    ["readers"],
    ["lesions"],
    ["voi"],
    ["stack"],
    ["masks", "pseudomask"],
    ["manifest"],
    ["scoring", "pictures"],
    ["network"],
    ["filtering", "export"],
    ["errata", "auditing"],
    ["release"],
    ["reporting"],
    ["triage"],
    ["loop"],
    ["factory"],
    ["provenance"],
    ["machine"],
    ["cli"],
    ["demo"],
]
# Only these modules know these libraries.
ONLY = {
    "dask": {"engine"},
    "distributed": {"engine"},
    "SimpleITK": {"demo"},
    "pydicom": {"readers", "demo"},
    "defusedxml": {"readers"},
    "pandas": {"manifest", "cli"},
    "click": {"cli"},
    "matplotlib": {"pictures"},
    "PIL": {"pictures", "readers", "demo"},
    "cv2": {"pseudomask"},
    "maxflow": {"pseudomask"},
    "skimage": {"pseudomask"},
    "torch": {"network"},
    "triton": {"network"},
    "monai": {"network"},
    "dynamic_network_architectures": {"network"},
}
RANK = {name: rank for rank, names in enumerate(STAGES) for name in names}


def modules() -> dict[Path, str]:
    """Modules of the package, each with the stage it belongs to."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in ("__init__", "__main__"):
            found[path] = parts[0]
    return found


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_every_module_has_a_stage() -> None:
    assert set(modules().values()) == set(RANK)


def test_no_arrow_back() -> None:
    arrows = []
    for path, stage in modules().items():
        for name in imported(path):
            parts = name.split(".")
            if parts[0] != "uls_data" or len(parts) == 1:
                continue
            # What the package exports lazily comes from its late stages.
            late = parts[1] in uls_data.__all__ and parts[1] != "__version__"
            if (RANK["factory"] if late else RANK.get(parts[1], -1)) > RANK[stage]:
                arrows.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert arrows == []


def test_libraries_stay_where_they_belong() -> None:
    strays = [
        f"{path.relative_to(PACKAGE)} imports {library}"
        for path, stage in modules().items()
        for library, stages in ONLY.items()
        if stage not in stages and library in {name.split(".")[0] for name in imported(path)}
    ]
    assert strays == []
