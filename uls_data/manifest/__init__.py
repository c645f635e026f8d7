"""Rows of lesions, from Parquet and to it, under one explicit schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uls_data.manifest.parquet import load_manifest, read_table, write_manifest

__all__ = ["load_manifest", "read_table", "write_manifest"]


def __getattr__(name: str) -> Any:
    # Workers of a build know a row's type, and load no Arrow.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from uls_data.manifest import parquet

    return getattr(parquet, name)
