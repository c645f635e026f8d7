"""Plots of scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw_risk_coverage(
    curve: Sequence[dict[str, Any]],
    five_px: dict[str, Any],
    calibration: Sequence[dict[str, Any]],
    path: Path,
) -> None:
    """Draw Dice over coverage beside predicted over true Dice, as a PNG.

    Parameters
    ----------
    curve, calibration : sequence of dict
        As `uls_data.scoring.summary` gives them.
    five_px : dict
        `coverage` and `dice` of the paper's rule.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    coverage = [row["coverage"] for row in curve]
    by_error = [row["dice_by_axis_error"] for row in curve]
    left.plot(coverage, [row["dice_by_prediction"] for row in curve], label="by predicted Dice")
    left.plot(coverage, by_error, "--", label="by axis error in pixels")
    left.plot(five_px["coverage"], five_px["dice"], "ks", label="the 5 px rule")
    left.set(xlabel="share kept", ylabel="mean Dice of what is kept", xlim=(0, 1.02))
    left.legend(frameon=False)
    predicted = [row["predicted_dice"] for row in calibration]
    true = [row["dice"] for row in calibration]
    low, high = min(predicted + true), max(predicted + true)
    right.plot([low, high], [low, high], color="0.7", linewidth=1)
    right.plot(predicted, true, "o-")
    right.set(xlabel="predicted Dice", ylabel="Dice against the human mask")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
