"""Figures of a report: which values each shows, as rows of a CSV and as a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from uls_data.manifest.held import HeldRows
from uls_data.manifest.row import Column, Row, Score
from uls_data.outcome import Reason, Status
from uls_data.pictures.plots import (
    draw_bars,
    draw_boxes,
    draw_curves,
    draw_scatter,
)
from uls_data.reporting.figure import (
    FEW,
    MOST_BARS,
    NAME,
    Figure,
    Numbers,
    Table,
    by,
    ok,
    picked,
    values,
)
from uls_data.reporting.population import age, axes_mm, hu, people, spacing
from uls_data.scoring.least import has_least, least_volume_mm3
from uls_data.tables import Record

_FIVE_PX = 5.0


def _judged(rows: HeldRows) -> HeldRows:
    """Masks made from a measurement: those that stayed, and those that a filter removed."""
    return rows.where(
        lambda row: (
            row["recist_long_vox"]
            and row["recist_short_vox"]
            and row["key_slice_long_error_vox"] is not None
            and row["key_slice_short_error_vox"] is not None
            and (row["status"] == Status.OK or row["reason"] == Reason.FILTERED)
        )
    )


def _sape(true: float, error: float) -> float:
    return 100 * abs(error) / (2 * true + error) if 2 * true + error > 0 else 100.0


def _axis_errors(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    known = _judged(rows)
    if not known:
        return None
    panels: dict[str, dict[str, list[float]]] = {"long axis": {}, "short axis": {}}
    for layer, masks in by(known, "layer").items():
        for kind, members in by(masks, "lesion_type").items():
            for axis, length, error in zip(panels, _LENGTHS, _ERRORS, strict=True):
                pairs = zip(values(members, length), values(members, error), strict=True)
                panels[axis][f"{layer}: {kind}"] = [float(_sape(*pair)) for pair in pairs]
    table = picked(known, (*NAME, *_LENGTHS, *_ERRORS, "status", "reason"))
    return Figure(
        "quality",
        "axis_errors",
        "Axes of the pseudo-masks against the measurement",
        "Symmetric absolute percentage error on the key slice, by layer and type (the paper's "
        "Figures 4 and 5).",
        draw_boxes(panels, "SAPE, %"),
        table,
    )


_LENGTHS: tuple[Column, ...] = ("recist_long_vox", "recist_short_vox")
_ERRORS: tuple[Column, ...] = ("key_slice_long_error_vox", "key_slice_short_error_vox")


def _predicted(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    known = rows.where(lambda row: row["predicted_dice"] is not None)
    if not known:
        return None
    groups = {
        f"{layer}: {kind}": values(members, "predicted_dice")
        for layer, masks in by(known, "layer").items()
        for kind, members in by(masks, "lesion_type").items()
    }
    return Figure(
        "quality",
        "predicted_dice",
        "Predicted Dice",
        "What calibration expects of each mask against a human one; removed ones included.",
        draw_boxes({"by layer and lesion type": groups}, "predicted Dice"),
        picked(known, (*NAME, "predicted_dice", "status", "reason")),
    )


def _dice_and_error(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    known = _judged(rows).where(lambda row: row["predicted_dice"] is not None)
    if len(known) < FEW:
        return None
    panels = {}
    for axis, column in zip(("long", "short"), _ERRORS, strict=True):
        panels[f"{axis} axis"] = {
            kind: (
                np.abs(values(members, column)),
                values(members, "predicted_dice"),
            )
            for kind, members in by(known, "lesion_type").items()
        }
    labels = dict.fromkeys(panels, ("absolute error, pixels", "predicted Dice"))
    return Figure(
        "quality",
        "dice_and_axis_error",
        "Predicted Dice against the error of the axes",
        "The paper's Figure A.9 with the predicted Dice, as no human mask is known here.",
        draw_scatter(panels, labels),
        picked(known, (*NAME, "predicted_dice", *_ERRORS)),
    )


def _volumes(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    known = rows.where(
        lambda row: row["volume_mm3"] and has_least(row) and least_volume_mm3(row) > 0
    )
    if not known:
        return None

    def log2(row: Row) -> float:
        return float(np.log2((row["volume_mm3"] or 0.0) / least_volume_mm3(row)))

    groups = {
        f"{layer}: {kind}": [log2(row) for row in members]
        for layer, masks in by(known, "layer").items()
        for kind, members in by(masks, "lesion_type").items()
    }
    table = Table(
        known,
        lambda row: {
            **{name: row[name] for name in (*NAME, "status", "reason", "volume_mm3")},
            "ellipsoid_mm3": least_volume_mm3(row),
            "log2": log2(row),
        },
    )
    return Figure(
        "quality",
        "volume_and_ellipsoid",
        "Volume of the 3D pseudo-masks against the ellipsoid of their lines",
        "The ellipsoid is what the lines alone say, and the least that a 3D mask must beat "
        "(`uls-data evaluate` scores both); 1 is twice its volume. Removed masks included.",
        draw_boxes({"by layer and lesion type": groups}, "log2 of the ratio"),
        table,
    )


def _winner(row: Row) -> str | None:
    """Candidate that a mask is, or is nearest to."""
    scores = row["candidate_scores"] or []
    for score in scores:
        if score["measure"] == "winner" and score["value"]:
            return str(score["candidate"])
    near = {
        score["candidate"]: score["value"]
        for score in scores
        if score["measure"] == "dice_to_fused" and score["candidate"] != "fused"
    }
    return str(max(near, key=lambda name: near[name] or 0.0)) if near else None


def winner_alone(scores: list[Score] | None) -> list[Score] | None:
    """Scores of a row without what no figure draws: who won, or was nearest."""
    winner = _winner({"candidate_scores": scores})
    return [{"candidate": winner, "measure": "winner", "value": 1.0}] if winner else None


def _winners(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    known = rows.where(_winner)
    if not known:
        return None
    panels = {
        layer: {
            name: float(count)
            for name, count in Counter(map(str, map(_winner, members))).most_common(MOST_BARS)
        }
        for layer, members in by(known, "layer").items()
    }
    return Figure(
        "quality",
        "winners",
        "Which candidate won",
        "The candidate that was taken, or the witness that the jury's mask is nearest to.",
        draw_bars(panels, "masks"),
        Table(known, lambda row: {**{name: row[name] for name in NAME}, "winner": _winner(row)}),
    )


def _filtered(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    removed = rows.where(lambda row: row["reason"] == Reason.FILTERED)
    if not removed:
        return None
    table: list[Record] = [
        {**{name: row[name] for name in NAME}, "clause": clause}
        for row in removed
        for clause in _clauses(row["detail"] or "")
    ]
    counts = Counter(row["clause"] for row in table).most_common(MOST_BARS)
    kept = sum(row["supervision"] != "full" for row in ok(rows))
    return Figure(
        "quality",
        "filtered",
        "What the filter removed",
        f"{len(removed)} pseudo-masks removed, {kept} kept; a mask may break several clauses.",
        draw_bars({"broken clauses": {name: float(count) for name, count in counts}}, "masks"),
        table,
    )


def _clauses(detail: str) -> list[str]:
    """Names of the clauses in a filtered row's detail, `name: numbers; name (numbers)`."""
    found = []
    for part in detail.split("; "):
        ends = [at for at in (part.find(": "), part.rfind(" (")) if at > 0]
        found.append(part[: min(ends)][:60] if ends else part[:60])
    return found


def _risk(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    known = _judged(rows).where(lambda row: row["predicted_dice"] is not None)
    if len(known) < FEW:
        return None
    dice = values(known, "predicted_dice")
    error = np.max([np.abs(values(known, name)) for name in _ERRORS], axis=0)
    share = np.arange(1, len(known) + 1) / len(known)
    orders = {
        "by predicted Dice": np.argsort(-dice, kind="stable"),
        "by axis error": np.argsort(error, kind="stable"),
    }
    means = {name: np.cumsum(dice[order]) / (share * len(known)) for name, order in orders.items()}
    keep = error <= _FIVE_PX
    points = {}
    if keep.any():
        points["the 5 px rule"] = (float(keep.mean()), float(dice[keep].mean()))
    step = max(1, len(known) // 200)
    table = Table(
        range(len(share)),
        lambda at: {"coverage": float(share[at]), **{n: float(v[at]) for n, v in means.items()}},
    )
    return Figure(
        "quality",
        "risk_coverage",
        "What is kept, and how good it is expected to be",
        "Mean predicted Dice of the best share of the masks, ranked in two ways.",
        draw_curves(
            {
                name: (share[::step].tolist(), values[::step].tolist())
                for name, values in means.items()
            },
            points,
            ("share kept", "mean predicted Dice"),
        ),
        table,
    )


_FIGURES: tuple[Callable[[HeldRows, Sequence[Numbers]], Figure | None], ...] = (
    axes_mm,
    spacing,
    hu,
    people,
    age,
    _predicted,
    _axis_errors,
    _volumes,
    _dice_and_error,
    _risk,
    _winners,
    _filtered,
)


def figures(rows: HeldRows, numbers: Sequence[Numbers]) -> Iterator[Figure]:
    """Figures for which the rows know enough.

    Parameters
    ----------
    rows : HeldRows
        All rows of the manifests.
    numbers : sequence of mapping
        Of each row: what `uls_data.measure.shape` measured; empty where nothing was.
    """
    for make in _FIGURES:
        figure = make(rows, numbers)
        if figure is not None:
            yield figure
