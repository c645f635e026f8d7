"""Build a source: raw data in, VOIs and a manifest out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uls_data.factory.build_report import BuildReport
    from uls_data.factory.run import build

__all__ = ["BuildReport", "build"]


def __getattr__(name: str) -> Any:
    # Workers load modules of this package, and do not need the one that runs them.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from uls_data.factory import run

    return getattr(run, name)
