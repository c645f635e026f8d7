"""Measurements of your own: recipes, tables and files of them, and the lines of a real contour."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.dicom.rtstruct import read_rtstruct
from uls_data.dicom.series import Series, read_series
from uls_data.geometry import LPS_TO_RAS

PIXELS = [
    "long_x1",
    "long_y1",
    "long_x2",
    "long_y2",
    "short_x1",
    "short_y1",
    "short_x2",
    "short_y2",
]
MM = [f"{axis}_{way}{end}" for axis in ("long", "short") for end in "12" for way in "xyz"]
CENTRES = {"shift_vox": 0, "outward_vox": 0, "evidence": "a test: pixel centres, from 0"}
_RIGHT_ANGLE_COSINE = 0.05


def write_recipe(path: Path, source: str = "own", **reader: Any) -> Path:
    """Recipe of the format `measurements`."""
    said = {
        "schema_version": 1,
        "source": source,
        "recipe_version": 1,
        "title": "Lines of your own",
        "licence": {"name": "unknown", "redistributable": True, "evidence": "a test"},
        "citation": "none",
        "access": ["none"],
        "reader": {"name": "measurements", "case": "[a-z0-9]+", **reader},
        "instances": {"rule": "given"},
        "minimum_size": None,
        "lesion_type": "various",
        "supervision": "weak_2d",
        "voi_name": "{case}_lesion_{lesion:02d}_sample_{sample}",
    }
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Measured:
    """A long and a short axis on one slice of a DICOM series.

    Attributes
    ----------
    series : Series
    slice_vox : int
        Along the stored slice axis.
    lps_mm : ndarray, shape (4, 3)
        End points, of the long axis first.
    folder : Path
        Of the series' files.
    """

    series: Series
    slice_vox: int
    lps_mm: NDArray[np.float64]
    folder: Path

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Column and row of the end points, shape (4, 2): zero-based, of pixel centres."""
        ras = self.lps_mm * np.diag(LPS_TO_RAS)[:3]
        return geometry.to_vox(self.series.volume.stored_affine, ras)[:, :2]

    @property
    def sop_instance_uid(self) -> str:
        """Of the slice."""
        return self.series.sop_instance_uids[self.slice_vox]

    def copy(self, to: Path) -> Path:
        """Copy the series into a folder (5 MB)."""
        return Path(shutil.copytree(self.folder, to))

    def write_csv(self, path: Path, **columns: str | float) -> Path:
        """Write a table of one row: the end points in pixels, or in LPS mm without a slice."""
        names, numbers = (
            (PIXELS, self.pixels) if "sop_instance_uid" in columns else (MM, self.lps_mm)
        )
        row = {**columns, **dict(zip(names, numbers.ravel().tolist(), strict=True))}
        path.write_text(",".join(row) + "\n" + ",".join(f"{it}" for it in row.values()) + "\n")
        return path

    def write_markups(self, folder: Path) -> None:
        """Write a line of 3D Slicer for each axis (.mrk.json, schema 1.0.3), as its manual says."""
        for name, ends in (("L", self.lps_mm[:2]), ("S", self.lps_mm[2:])):
            said = {
                "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/"
                "Markups/Resources/Schema/markups-schema-v1.0.3.json#",
                "markups": [
                    {
                        "type": "Line",
                        "coordinateSystem": "LPS",
                        "coordinateUnits": "mm",
                        "locked": False,
                        "controlPoints": [
                            {"id": f"{at}", "label": f"{name}-{at}", "position": point}
                            for at, point in enumerate(ends.tolist(), start=1)
                        ],
                        "measurements": [{"name": "length", "enabled": True, "units": "mm"}],
                    }
                ],
            }
            (folder / f"{name}.mrk.json").write_text(json.dumps(said, indent=4), encoding="utf-8")


def ibsi_lines(real_data: Path) -> Measured:
    """Lines across the largest real contour of the IBSI phantom, between its own vertices."""
    folder = real_data / "ibsi-ct-phantom/dicom/image"
    series = read_series([Path(path.name) for path in sorted(folder.iterdir())], folder)
    structures = real_data / "ibsi-ct-phantom/dicom/mask/DCM_RS_00060.dcm"
    (roi,) = read_rtstruct(structures, re.compile("GTV-1")).rois
    found = max((_axes(contour.points_mm) for contour in roi.contours), key=lambda one: one[0])[1]
    heights = np.array(series.positions_mm) - found[0, 2]
    return Measured(series, int(np.abs(heights).argmin()), found, folder)


def _axes(points: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Longest distance of two vertices of a contour, and the longest one across it."""
    pairs = np.column_stack(np.triu_indices(len(points), 1))
    ways = points[pairs[:, 1]] - points[pairs[:, 0]]
    lengths = np.linalg.norm(ways, axis=1)
    long = int(lengths.argmax())
    cosines = np.abs(ways @ ways[long]) / np.maximum(lengths * lengths[long], 1e-9)
    short = int(np.where(cosines < _RIGHT_ANGLE_COSINE, lengths, 0).argmax())
    return float(lengths[long]), points[[*pairs[long], *pairs[short]]]
