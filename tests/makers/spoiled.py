"""Manifests that somebody has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uls_data.manifest import write_manifest
from uls_data.manifest.parquet import iterate_rows

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror="document.title=1">'


def change(out: Path, extra: list[dict[str, Any]] | None = None, **columns: Any) -> list[Any]:
    """Set columns of all rows that are ok, and add rows; returns them all."""
    path = out / "manifest" / "kits21.parquet"
    rows = [{**row, **columns} if row["status"] == "ok" else row for row in iterate_rows(path)] + (
        extra or []
    )
    write_manifest(rows, path)
    return rows
