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
from uls_data.scoring.trials import BASELINES, JITTER, Trial, score_lesions
from uls_data.tables import Record, write_csv

_GROUPS: dict[str, Callable[[Record], Any]] = {
    "all": lambda _row: "all",
    "size": lambda row: summary.size_group(row["long_axis_vox"]),
    "lesion_type": lambda row: row["lesion_type"],
    "case": lambda row: f"{row['source']}/{row['case_id']}",
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
        """Means by group: all, size, lesion_type or case (see `uls_data.scoring.summary`)."""
        order = {method: at for at, method in enumerate(self.trial.methods)}
        # Stable: groups and noise keep the order that they have.
        rows = sorted(self.scores, key=lambda row: order[row["method"]])
        return summary.summarise(rows, _GROUPS[by])

    def gains(self) -> list[Record]:
        """Dice of the first method against every other, on clean lines and at each noise."""
        first = self.trial.methods[0]
        others = [method for method in self.trial.methods if method != first]
        kinds = (0.0, *self.trial.jitter) if self.trial.draws else (0.0,)
        return [summary.gain(self.scores, first, o, jitter) for jitter in kinds for o in others]

    @cached_property
    def predictions(self) -> list[Record]:
        """Scores of the first method, as far as it predicted its own Dice: with the least noise."""
        first, least = self.trial.methods[0], min(self.trial.jitter, default=0.0)
        rows = [r for r in self.scores if r["method"] == first and r["jitter"] <= least]
        return [row for row in rows if row["predicted_dice"] is not None]

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
    workers: int = 0,
    scheduler: str | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score 2D methods on every lesion of manifests that has an image and a full mask.

    Parameters
    ----------
    manifests : path or sequence of paths
        As `load_manifest` takes them, of builds with images.
    methods : sequence of str
        Names of `uls_data.pseudomask.methods`; the ellipse, the quadrilateral and `grabcut` are
        always scored beside them. The first is compared with all others.
    slices, jitter, draws, seed
        See `Trial`.
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
    trial = Trial(tuple(dict.fromkeys([*methods, *BASELINES])), slices, noise, draws, seed)
    pool = Pool(workers, scheduler)
    scores, failed = score_lesions(manifests, trial, pool, started=started, progress=progress)
    return Evaluation(trial, scores, failed)
