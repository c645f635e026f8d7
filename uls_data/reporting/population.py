"""Figures of what was built: lesions, scans and patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from uls_data.manifest.held import HeldRows
from uls_data.manifest.row import Column
from uls_data.outcome import Status
from uls_data.pictures.plots import draw_bars, draw_histograms
from uls_data.reporting.figure import (
    FEW,
    LESION,
    MOST_BARS,
    NAME,
    UNKNOWN,
    Figure,
    Numbers,
    Table,
    by,
    ok,
    picked,
    values,
)


def axes_mm(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    """Long and short axis of each lesion, by type."""
    known = ok(rows).one_each(*LESION).where(lambda row: (row["short_axis_mm"] or 0) > 0)
    if not known:
        return None
    panels = {
        f"{kind} ({len(members)})": {
            "long axis": values(members, "long_axis_mm"),
            "short axis": values(members, "short_axis_mm"),
        }
        for kind, members in by(known, "lesion_type").items()
    }
    return Figure(
        "built",
        "axes_mm",
        "Long and short axis by lesion type",
        "The paper's Figure 1, of this build: millimetres, lesions counted once.",
        draw_histograms(panels, "mm", log=True),
        picked(known, (*NAME, "long_axis_mm", "short_axis_mm")),
    )


def spacing(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    """Voxel spacing of each scan."""
    scans = ok(rows).one_each(*LESION[:2]).where(lambda row: row["spacing_x_mm"])
    if not scans:
        return None
    panels = {
        "in the slice (x)": {"scans": values(scans, "spacing_x_mm")},
        "between slices (z)": {"scans": values(scans, "spacing_z_mm")},
    }
    columns: tuple[Column, ...] = (
        "source",
        "case_id",
        "spacing_x_mm",
        "spacing_y_mm",
        "spacing_z_mm",
    )
    return Figure(
        "built",
        "spacing",
        "Voxel spacing",
        "One value a scan (compare the paper's Figure A.8).",
        draw_histograms(panels, "mm"),
        picked(scans, columns),
    )


def hu(rows: HeldRows, numbers: Sequence[Numbers]) -> Figure | None:
    """HU inside and around each mask, by type."""
    places: dict[tuple[Any, ...], int] = {}
    for at, (row, measured) in enumerate(zip(rows, numbers, strict=True)):
        if "hu_inside" in measured and row["status"] == Status.OK:
            places.setdefault(tuple(row[name] for name in LESION), at)
    known = list(places.values())
    if not known:
        return None
    groups: dict[str, list[int]] = {}
    for at in known:
        groups.setdefault(str(rows[at]["lesion_type"] or UNKNOWN), []).append(at)
    panels = {
        f"{kind} ({len(members)})": {
            place: [numbers[at][f"hu_{place}"] for at in members] for place in ("inside", "around")
        }
        for kind, members in sorted(groups.items())
    }
    table = Table(
        known,
        lambda at: {
            **{name: rows[at][name] for name in NAME},
            **{name: numbers[at][name] for name in ("hu_inside", "hu_around")},
        },
    )
    return Figure(
        "built",
        "hu",
        "HU inside and around the masks",
        "Medians, on three axial slices of each mask; around: up to 3 pixels off it.",
        draw_histograms(panels, "HU"),
        table,
    )


def people(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    """Patients and scanners: bars by sex, scanner, lesion type and year."""
    scans = ok(rows).one_each(*LESION[:2])
    panels = {}
    titles: dict[Column, str] = {
        "patient_sex": "sex",
        "manufacturer": "scanner",
        "lesion_type": "lesion type",
        "study_year": "year of the study",
    }
    for name, title in titles.items():
        counts = Counter(str(row[name]) for row in scans if row[name] is not None)
        if counts:
            by_name = name == "study_year"
            order = sorted(counts) if by_name else [key for key, _ in counts.most_common()]
            panels[title] = {key: float(counts[key]) for key in order[:MOST_BARS]}
    if not panels:
        return None
    columns: tuple[Column, ...] = ("source", "case_id", *titles)
    return Figure(
        "built",
        "scans",
        "Patients and scanners, where the sources tell",
        "Scans by sex, manufacturer, lesion type and year (the paper's Figures A.7 and A.8).",
        draw_bars(panels, "scans"),
        picked(scans, columns),
    )


def age(rows: HeldRows, _numbers: Sequence[Numbers]) -> Figure | None:
    """Age of the patient of each scan."""
    scans = ok(rows).one_each(*LESION[:2])
    known = scans.where(lambda row: row["patient_age_years"] is not None)
    if len(known) < FEW:
        return None
    return Figure(
        "built",
        "age",
        "Age, where the sources tell",
        "One value a scan (the paper's Figure A.7).",
        draw_histograms({"age": {"scans": values(known, "patient_age_years")}}, "years"),
        picked(known, ("source", "case_id", "patient_age_years")),
    )
