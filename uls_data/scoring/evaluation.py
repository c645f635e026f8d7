"""The evaluation of 2D methods: scores of every lesion, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from uls_data.engine import Pool
from uls_data.errors import ManifestError
from uls_data.scoring import summary
from uls_data.scoring.ground import Scans
from uls_data.scoring.trials import BASELINES, JITTER, READER, Trial, score_lesions
from uls_data.tables import Record, write_csv

_GROUPS: dict[str, Callable[[Record], Any]] = {
    "all": lambda _row: "all",
    "size": lambda row: summary.size_group(row["long_axis_vox"]),
    "lesion_type": lambda row: row["lesion_type"],
    "case": lambda row: f"{row['source']}/{row['case_id']}",
    "cut": lambda row: "cut by its VOI" if row["fraction_outside_voi"] else "whole in its VOI",
}
_FIVE_VOX = 5.0


@dataclass(frozen=True)
class Evaluation:
    """Scores of 2D methods.

    Attributes
    ----------
    trial : Trial
    scores : list of dict
        One a (lesion, slice, draw, method), as `score_lesions` says.
    failed : list of dict
    """

    trial: Trial
    scores: list[Record]
    failed: list[Record]

    def summary(self, by: str = "all") -> list[Record]:
        """Means by group: all, size, lesion_type, case or cut (see `uls_data.scoring.summary`)."""
        order = {method: at for at, method in enumerate((*self.trial.methods, READER))}
        # Stable: groups and noise keep the order that they have.
        rows = sorted(self.scores, key=lambda row: order[row["method"]])
        return summary.summarise(rows, _GROUPS[by])

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Methods of the trial that scored anything: without images, those that need none."""
        there = {row["method"] for row in self.scores}
        return tuple(method for method in self.trial.methods if method in there)

    def gains(self) -> list[Record]:
        """Dice of the first method against every other, on clean lines and at each noise.

        With readers: on lines of the reader whose mask scores, and on those of another.
        """
        kinds = dict.fromkeys(
            summary.lines_of(row) for row in sorted(self.scores, key=lambda row: row["jitter"])
        )
        pairs = ((kind, other) for kind in kinds for other in self.methods[1:])
        found = (summary.gain(self.scores, self.methods[0], o, kind) for kind, o in pairs)
        return [row for row in found if row is not None]

    def cut(self) -> list[Record]:
        """Lesions that reach beyond their VOI (see `uls_data.scoring.summary.cut_lesions`)."""
        return summary.cut_lesions(self.scores)

    @cached_property
    def predictions(self) -> list[Record]:
        """Scores of the first method, as far as it predicted its own Dice.

        With the least noise; with readers, against the masks of the others.
        """
        first, least = self.trial.methods[0], min(self.trial.jitter, default=0.0)
        rows = [r for r in self.scores if r["method"] == first and r["jitter"] <= least]
        return [
            row
            for row in rows
            if row["predicted_dice"] is not None and summary.lines_of(row) != "own"
        ]

    def calibration(self) -> tuple[float, list[Record]]:
        """Return the expected calibration error of those predictions, and its table."""
        return summary.calibration(self.predictions)

    def risk_coverage(self) -> list[Record]:
        """Mean Dice of the best part, by prediction and by axis error."""
        return summary.risk_coverage(self.predictions)

    @property
    def five_px(self) -> Record:
        """What the paper's rule keeps, and as many by prediction."""
        rows = self.predictions
        true = np.array([row["dice"] for row in rows])
        kept = summary.axis_error(rows) <= _FIVE_VOX
        best = np.argsort([-row["predicted_dice"] for row in rows], kind="stable")
        count = int(kept.sum())
        return {
            "coverage": float(kept.mean()),
            "dice": float(true[kept].mean()) if count else float("nan"),
            "dice_by_prediction": float(true[best[:count]].mean()) if count else float("nan"),
        }

    def write(self, folder: Path) -> None:
        """Write scores and tables as CSV, and the risk-coverage curve as a picture."""
        folder.mkdir(parents=True, exist_ok=True)
        tables = {
            "scores": self.scores,
            "failed": self.failed,
            "calibration": self.calibration()[1],
            "risk_coverage": self.risk_coverage(),
            "gains": self.gains(),
            "cut": self.cut(),
            **{f"by_{name}": self.summary(name) for name in _GROUPS},
        }
        for name, rows in tables.items():
            write_csv(folder / f"{name}.csv", rows)
        if self.predictions:
            from uls_data.pictures.risk_coverage import draw_risk_coverage

            draw_risk_coverage(
                self.risk_coverage(), self.five_px, self.calibration()[1], folder / "risk.png"
            )


def evaluate_2d(
    manifests: str | Path | Sequence[str | Path],
    methods: Sequence[str] = ("jury", "quarter_ellipses"),
    *,
    slices: str = "longest",
    jitter: float | Sequence[float] = JITTER,
    draws: int = 3,
    seed: int = 0,
    readers: bool = False,
    scans: Scans | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score 2D methods on every lesion of manifests that has a full mask.

    Lesions without an image are scored by the methods that need none.

    Parameters
    ----------
    manifests : path or sequence of paths
        As `load_manifest` takes them.
    methods : sequence of str
        Names of `uls_data.pseudomask.methods`; the ellipse, the quadrilateral and `grabcut` are
        always scored beside them. The first is compared with all others.
    slices, jitter, draws, seed, readers
        See `Trial`.
    scans : RawScans, optional
        Scans to measure lesions on: a VOI cuts those that it is too small for, and then lines and
        truth end where it does.
    workers, scheduler
        As for `build`.

    Raises
    ------
    ManifestError
        Nothing to score, a method that is not known, or noise of no sense.
    """
    noise = (jitter,) if isinstance(jitter, int | float) else tuple(dict.fromkeys(jitter))
    if not all(0 < share < 1 for share in noise):
        raise ManifestError(f"--jitter {noise}: expected shares of the axis, above 0 and below 1")
    chosen = tuple(dict.fromkeys([*methods, *BASELINES]))
    trial = Trial(chosen, slices, noise, draws, seed, readers)
    pool = Pool(workers, scheduler)
    scores, failed = score_lesions(
        manifests, trial, pool, scans=scans, started=started, progress=progress
    )
    return Evaluation(trial, scores, failed)
