"""How often each flag occurs in a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from uls_data.manifest.parquet import read_table


def count_flags(paths: str | Path | Sequence[str | Path]) -> dict[str, int]:
    """Rows with each flag, most first.

    Raises
    ------
    ManifestError
    """
    column = read_table(paths, ["qc_flags"])["qc_flags"]
    counts: Counter[str] = Counter()
    # Without pyarrow.compute, whose import costs every build more than its flags do.
    for chunk in column.iterchunks():
        counts.update(chunk.flatten().to_pylist())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
