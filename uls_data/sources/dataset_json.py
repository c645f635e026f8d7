"""What a dataset.json (nnU-Net, Medical Segmentation Decathlon) says about values and channels."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "dataset.json"
MOST_BYTES = 64 << 20
_LONGEST = 60
_NOT_ONE = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError),
    *(OverflowError, RecursionError),
)


@dataclass(frozen=True)
class DatasetJson:
    """Names in a dataset.json, each printable and short.

    Attributes
    ----------
    labels : dict of int to str
        By mask value. Of a value that is in several regions, the names of all, comma-separated.
    channels : dict of int to str
        By number.
    lists : bool
        Whether it lists the files of each case (`dataset`, nnU-Net v2).
    """

    labels: dict[int, str] = field(default_factory=dict)
    channels: dict[int, str] = field(default_factory=dict)
    lists: bool = False

    @property
    def ct(self) -> int | None:
        """Number of the channel that is CT; None where no name says so."""
        named = [at for at, name in self.channels.items() if name.strip().lower() == "ct"]
        return named[0] if named else None


def read_dataset_json(path: Path) -> DatasetJson:
    """Read what can be read of it; empty where the file is something else."""
    try:
        with path.open("rb") as file:
            content: Any = json.loads(file.read(MOST_BYTES))
    except _NOT_ONE:
        return DatasetJson()
    if not isinstance(content, dict):
        return DatasetJson()
    return DatasetJson(
        _names(content, "labels"),
        _names(content, "channel_names") or _names(content, "modality"),
        isinstance(content.get("dataset"), dict) and bool(content["dataset"]),
    )


def _names(content: dict[str, Any], key: str) -> dict[int, str]:
    """Names by number, whichever of the two is the key; empty where one of them is neither."""
    found: dict[int, list[str]] = {}
    try:
        for one, other in content[key].items():
            number, name = (one, other) if str(one).isdigit() else (other, one)
            for value in number if isinstance(number, list) else [number]:
                found.setdefault(int(value), []).append(str(name))
    except _NOT_ONE:
        return {}
    # Other names could steer the terminal that they are shown on.
    shown = {
        value: [name for name in names if name.isprintable()] for value, names in found.items()
    }
    return {value: ", ".join(names)[:_LONGEST] for value, names in shown.items() if names}
