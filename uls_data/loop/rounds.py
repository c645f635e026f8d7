"""What a loop did, round by round."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uls_data.filtering import FilterReport


@dataclass
class Round:
    """One round: networks, their masks of the weak lesions, and how good they are.

    Attributes
    ----------
    number : int
        From 1.
    models : list of Path
        Model folders; one, or one a fold.
    layer : str
        `pseudo3d-rN`.
    teacher_prompt : str
        What these networks were told: `click` or `lines`.
    predicted : dict
        Weak VOIs by status: `ok`, `skipped`, `failed`.
    teacher_saw : int
        Masks by a teacher that was trained on the lesion.
    filtered : FilterReport
    heldout : list of dict
        Scores of the round's (first) network on held-out lesions, by lesion type, `all` among
        them; empty without held-out patients, or for a network that needs lines (see
        `uls_data.scoring.aggregates`).
    gain : dict or None
        Dice of this round minus that of the round before, paired, on the same held-out lesions
        (see `uls_data.scoring.comparison.compare`).
    beside_ellipsoid : dict or None
        Likewise, minus that of the ellipsoids of lines across the held-out lesions, which are the
        least to beat.
    """

    number: int
    models: list[Path]
    layer: str
    teacher_prompt: str
    predicted: dict[str, int]
    teacher_saw: int
    filtered: FilterReport
    heldout: list[dict[str, Any]] = field(default_factory=list)
    gain: dict[str, Any] | None = None
    beside_ellipsoid: dict[str, Any] | None = None


@dataclass
class LoopReport:
    """What a loop did.

    Attributes
    ----------
    rounds : list of Round
    model : Path
        Model folder of the last round; with folds, of a network trained on all of them; with a
        teacher of its own plan, of the student.
    student : list of dict
        Scores of the student on held-out lesions, as `Round.heldout`; empty without one.
    failed : list of dict
        VOIs that could not be read: `voi_id`, `layer`, `reason`, `detail`.
    """

    rounds: list[Round]
    model: Path
    failed: list[dict[str, str]]
    student: list[dict[str, Any]] = field(default_factory=list)
