"""The paper's Figures A.11 and A.12: what one model gains on another, lesion by lesion."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path


def draw_comparison(differences: Sequence[float], names: tuple[str, str], path: Path) -> None:
    """Draw sorted Dice differences, with the sign change and the median marked, as a PNG.

    Parameters
    ----------
    differences : sequence of float
        Dice of the first model minus the second's, one a lesion.
    names : tuple of 2 str
        Of the models.
    """
    from matplotlib.figure import Figure

    values = sorted(differences)
    below, median = sum(value < 0 for value in values), statistics.median(values)
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.bar(
        range(len(values)),
        values,
        width=1.0,
        color=["#b2402f" if value < 0 else "#2f6fb2" for value in values],
    )
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.axvline(below - 0.5, color="k", linestyle="--", linewidth=1)
    axes.annotate(
        f"sign change: {below} of {len(values)} worse",
        (below - 0.5, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -12),
        textcoords="offset points",
    )
    at = (len(values) - 1) / 2
    axes.plot([at], [median], "ko", label=f"median {median:+.3f}")
    axes.set(
        xlabel="lesions, from the largest loss to the largest gain",
        ylabel=f"Dice, {names[0]} minus {names[1]}",
    )
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
