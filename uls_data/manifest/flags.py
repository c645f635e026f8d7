"""How often each flag occurs in a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from uls_data.manifest.parquet import iterate_rows, manifest_files


def count_flags(paths: str | Path | Sequence[str | Path]) -> dict[str, int]:
    """Rows with each flag, most first.

    Raises
    ------
    ManifestError
    """
    counts: Counter[str] = Counter()
    for path in manifest_files(paths):
        for row in iterate_rows(path, ["qc_flags"]):
            counts.update(row["qc_flags"] or ())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
