"""What a training did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uls_data.network.plan import Plan


@dataclass
class TrainReport:
    """What a training did.

    Attributes
    ----------
    model : Path
        The model folder, which `predict` and nnU-Net read.
    checkpoint : Path
    plan : Plan
    steps : int
    done : int
        Those that earlier runs had done.
    trained, heldout : int
        Examples drawn from, and scored.
    types : dict
        Examples drawn from, by lesion type.
    left_out : dict
        Rows that were neither, by reason.
    validation : list of dict
        Held-out Dice by lesion type at the end.
    failed : list of dict
        Examples that could not be read: `voi_id`, `layer`, `reason`, `detail`.
    """

    model: Path
    checkpoint: Path
    plan: Plan
    steps: int
    done: int
    trained: int
    heldout: int
    types: dict[str, int]
    left_out: dict[str, int]
    validation: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
