"""Plots of a report, each as SVG for the page and the disk and as PNG for slides."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Distinguishable with every common colour blindness (Okabe and Ito), on white and on black.
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#3D8FD1", "#D55E00", "#999999")
_INK, _FAINT = "#1f2328", "#c9ced4"
_INK_DARK, _FAINT_DARK = "#e6e9ed", "#4a515a"
_STYLE = {
    "svg.hashsalt": "uls-data",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _FAINT,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_PANEL = (2.7, 1.9)
_MOST_POINTS = 3000
Values = Sequence[float] | NDArray[np.float64]
Groups = Mapping[str, Values]


class Drawing:
    """A finished plot.

    Attributes
    ----------
    svg, svg_dark : str
        Without background; for light and for dark surroundings.
    png : bytes
        On white, 140 dots an inch.
    """

    def __init__(self, figure: Figure) -> None:
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            vector, raster = io.StringIO(), io.BytesIO()
            # Where everything lies is worked out once, not for either file.
            layout = figure.get_layout_engine()
            if layout is not None:
                layout.execute(figure)
                figure.set_layout_engine("none")
            figure.savefig(
                vector, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
            )
            figure.savefig(
                raster, format="png", dpi=140, facecolor="white", metadata={"Software": None}
            )
        self.svg = vector.getvalue()
        self.svg_dark = self.svg.replace(_INK, _INK_DARK).replace(_FAINT, _FAINT_DARK)
        self.png = raster.getvalue()


def _figure(panels: int, columns: int, size: tuple[float, float] = _PANEL) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    columns = min(columns, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(columns * size[0], rows * size[1]))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in grid[panels:]:
        unused.set_visible(False)
    return figure, grid[:panels]


def _drawn(draw: Any) -> Drawing:
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        return Drawing(draw())


def draw_histograms(
    panels: Mapping[str, Groups], label: str, *, bins: int = 24, log: bool = False
) -> Drawing:
    """Histograms side by side, one panel each, all with the same bins.

    Parameters
    ----------
    panels : mapping of title to mapping of series to values
    label : str
        Of the horizontal axis.
    log : bool
        Bins of equal ratios; every value is above 0.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    def draw() -> Figure:
        values = np.concatenate([np.asarray(v, float) for p in panels.values() for v in p.values()])
        low, high = float(values.min()), float(values.max())
        if log:
            edges = np.geomspace(low, max(high, low * 1.01), bins + 1)
        else:
            edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        figure, grid = _figure(len(panels), 4)
        for axes, (title, groups) in zip(grid, panels.items(), strict=True):
            for number, (name, numbers) in enumerate(groups.items()):
                axes.hist(
                    numbers,
                    edges,
                    histtype="stepfilled" if number == 0 else "step",
                    color=COLOURS[number % len(COLOURS)],
                    alpha=0.75 if number == 0 else 1.0,
                    linewidth=1.4,
                    label=name,
                )
            axes.set(title=title, xlabel=label)
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            if log:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
        handles, names = grid[0].get_legend_handles_labels()
        if len(names) > 1:
            # Beside the panels: in one it would hide bars.
            figure.legend(handles, names, fontsize=8, loc="outside upper left", ncols=len(names))
        return figure

    return _drawn(draw)


def draw_boxes(panels: Mapping[str, Groups], label: str) -> Drawing:
    """Box plots: median, quartiles, whiskers to 1.5 times their distance, and what lies beyond.

    Parameters
    ----------
    panels : mapping of title to mapping of group to values
    label : str
        Of the vertical axis.
    """

    def draw() -> Figure:
        widest = max(len(groups) for groups in panels.values())
        figure, grid = _figure(len(panels), 2, (max(3.2, 0.55 * widest + 1.2), 2.9))
        for axes, (title, groups) in zip(grid, panels.items(), strict=True):
            drawn = axes.boxplot(
                [np.asarray(values, float) for values in groups.values()],
                widths=0.6,
                patch_artist=True,
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": COLOURS[6]},
                medianprops={"color": COLOURS[5], "linewidth": 1.5},
            )
            for box in drawn["boxes"]:
                box.set(facecolor=COLOURS[0], alpha=0.6, edgecolor=_INK)
            for line in (*drawn["whiskers"], *drawn["caps"]):
                line.set_color(_INK)
            names = [f"{name} ({len(values)})" for name, values in groups.items()]
            axes.set_xticks(range(1, len(names) + 1), names, rotation=40, ha="right")
            axes.set(title=title, ylabel=label)
            axes.grid(axis="y")
        return figure

    return _drawn(draw)


def draw_bars(panels: Mapping[str, Mapping[str, float]], label: str) -> Drawing:
    """Horizontal bars with their numbers, the first one on top."""

    def draw() -> Figure:
        most = max(len(bars) for bars in panels.values())
        figure, grid = _figure(len(panels), 2, (4.6, 0.28 * most + 0.9))
        for axes, (title, bars) in zip(grid, panels.items(), strict=True):
            names, values = list(bars)[::-1], list(bars.values())[::-1]
            drawn = axes.barh(names, values, color=COLOURS[0], height=0.7)
            axes.bar_label(drawn, [f"{value:,.4g}" for value in values], padding=3, fontsize=8)
            axes.set(title=title, xlabel=label)
            axes.margins(x=0.16, y=0.02)
        return figure

    return _drawn(draw)


def draw_scatter(
    panels: Mapping[str, Mapping[str, tuple[Values, Values]]],
    labels: Mapping[str, tuple[str, str]],
) -> Drawing:
    """Clouds of points; of very many, evenly chosen ones.

    Parameters
    ----------
    panels : mapping of title to mapping of group to (x, y)
    labels : mapping of title to (horizontal, vertical) label
    """

    def draw() -> Figure:
        figure, grid = _figure(len(panels), 2, (4.4, 3.0))
        for axes, (title, groups) in zip(grid, panels.items(), strict=True):
            _cloud(axes, groups)
            horizontal, vertical = labels[title]
            axes.set(title=title, xlabel=horizontal, ylabel=vertical)
        grid[-1].legend(fontsize=7, markerscale=1.5, loc="best")
        return figure

    return _drawn(draw)


def draw_risk(
    strata: Sequence[tuple[str, float, float, float]], promised: float, title: str
) -> Drawing:
    """Risk against coverage: of each stratum what was found, and up to what it may be.

    Parameters
    ----------
    strata : sequence of (name, coverage, risk found, risk at most)
    promised : float
        Risk that is promised of all.
    """

    def draw() -> Figure:
        figure, (axes, *_) = _figure(1, 1, (6.4, 3.4))
        for number, (name, coverage, found, most) in enumerate(strata):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot([coverage, coverage], [found, most], color=colour, linewidth=1.5, alpha=0.8)
            axes.plot(coverage, most, "_", color=colour, markersize=9)
            marker = "osv^D"[number // len(COLOURS) % 5]
            axes.plot(coverage, found, marker, color=colour, markersize=5, label=name)
        axes.axhline(promised, color=COLOURS[-1], linestyle="--", linewidth=1, label="promised")
        axes.set(
            title=title, xlabel="coverage: share of masks kept", ylabel="risk: share that fails",
            xlim=(0, 1.02), ylim=(0, None),
        )  # fmt: skip
        axes.grid()
        axes.legend(fontsize=7, loc="best")
        return figure

    return _drawn(draw)


def _cloud(axes: Axes, groups: Mapping[str, tuple[Values, Values]]) -> None:
    total = sum(len(x) for x, _ in groups.values())
    step = max(1, total // _MOST_POINTS)
    for number, (name, (x, y)) in enumerate(groups.items()):
        axes.plot(
            x[::step],
            y[::step],
            "osv^D"[number // len(COLOURS) % 5],
            color=COLOURS[number % len(COLOURS)],
            markersize=3,
            alpha=0.7,
            markeredgewidth=0,
            label=name,
        )
    axes.grid()


def draw_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    points: Mapping[str, tuple[float, float]],
    labels: tuple[str, str],
) -> Drawing:
    """Curves, and single points among them."""

    def draw() -> Figure:
        figure, (axes,) = _figure(1, 1, (5.2, 3.0))
        for number, (name, (x, y)) in enumerate(curves.items()):
            axes.plot(x, y, ("-", "--", ":")[number % 3], color=COLOURS[number], label=name)
        for number, (name, (at, height)) in enumerate(points.items()):
            axes.plot(at, height, "sD^"[number % 3], color=COLOURS[5], label=name)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.grid()
        axes.legend(fontsize=8)
        return figure

    return _drawn(draw)
