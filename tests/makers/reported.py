"""A made-up clinic: CT of patients in folders of their names, and reports that name sizes there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom

import uls_data
from demo.dicom import write_series
from makers.own_lines import CENTRES, write_recipe
from uls_data.mining import mine

SHAPE, SPACING_MM = (80, 64, 8), (1.0, 1.0, 2.5)
AFFINE = np.diag([*SPACING_MM, 1.0])
# Centre and radii (voxels) of a lesion on slices 2 to 5; its largest slice is image 5 of 8.
CENTRE, RADII = (30, 40, 3), (10, 7, 3)
REPORTS = {
    "p01.txt": """CT of the chest and abdomen. Comparison: none.
Target lesions:
1. Liver lesion in segment 6, 20 x 14 mm (series 4, image 5).
2. Lesion in the left adrenal gland of 9 mm (series 4, image 52).
There is no lesion of 30 mm (series 4, image 6).
""",
    "p02.txt": """CT of the abdomen.
A metastasis in the liver measures 18 x 12 mm (series 4, image 3).
A further lesion of the liver measures 16 x 11 mm (series 7, image 3).
A lesion in the right lung of 8 mm.
""",
    "p03.txt": """CT of the chest.
Lesion in the left upper lobe, 15 x 10 mm (series 2, image 30).
""",
}


def series(folder: Path, name: str, number: int, study: str = "") -> list[str]:
    """One series with a bright lesion; SOPInstanceUIDs from the lowest z."""
    indices = np.indices(SHAPE)
    away = sum(((indices[at] - CENTRE[at]) / RADII[at]) ** 2 for at in range(3))
    noise = np.random.default_rng(number).normal(0, 8, SHAPE)
    ct_hu = (np.where(away <= 1, 90, 20) + noise).astype(np.int16)
    uids = write_series(folder, ct_hu, AFFINE, name, "Jane^Doe")
    for path in folder.glob("*.dcm"):
        data = pydicom.dcmread(path)
        data.SeriesNumber = number
        if study:
            data.StudyInstanceUID = study
        data.save_as(path)
    return uids


def write_clinic(root: Path) -> dict[str, list[str]]:
    """CT and the mined table below `root/raw`; UIDs of the slices by series.

    Patient p01 has series 4 and 5, p02 has series 4 in two studies, of p03 there is none.
    """
    raw = root / "raw"
    uids = {
        "p01/4": series(raw / "p01" / "a", "p01 4", 4),
        "p01/5": series(raw / "p01" / "b", "p01 5", 5),
        "p02/4": series(raw / "p02" / "2024" / "a", "p02 4", 4, "1.2.3.4"),
        "p02/4 later": series(raw / "p02" / "2025" / "a", "p02 4 later", 4, "1.2.3.5"),
    }
    reports = root / "reports"
    reports.mkdir()
    for name, text in REPORTS.items():
        (reports / name).write_text(text)
    mine(reports, raw / "lesions.csv")
    return uids


def build_reported(root: Path, **reader: Any) -> Any:
    """Build what the reports name."""
    own = {
        "table": {"file": "lesions.csv"},
        "coordinates": CENTRES,
        "case": "p[0-9]+",
        "drawn": "drawn-*.csv",
    }
    recipe = write_recipe(root / "reported.yaml", "reported", **{**own, **reader})
    return uls_data.build(recipe, root / "raw", root / "out", masks=["ellipse"])
