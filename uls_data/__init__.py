"""From raw public CT lesion archives to a training set for universal lesion segmentation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from uls_data.factory import BuildReport, build
    from uls_data.manifest.index import index
    from uls_data.manifest.query import query
    from uls_data.manifest.stats import stats
    from uls_data.manifest.table import load_manifest

# Loaded when first asked for, so that `import uls_data` costs nothing.
_LAZY = {
    "BuildReport": "uls_data.factory",
    "build": "uls_data.factory",
    "index": "uls_data.manifest.index",
    "load_manifest": "uls_data.manifest.table",
    "query": "uls_data.manifest.query",
    "stats": "uls_data.manifest.stats",
}

__all__ = ["BuildReport", "__version__", "build", "index", "load_manifest", "query", "stats"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'uls_data' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
