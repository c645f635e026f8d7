"""Formats of raw archives, a folder each: what their cases are, and what lesions these hold.

`FORMATS` is the one place that knows them all: the model of a recipe's reader
(`uls_data.recipe.reader`) to the code that finds and opens its cases.
"""

from __future__ import annotations

from uls_data.recipe.measurements import Measurements
from uls_data.recipe.model import Recipe
from uls_data.recipe.part import Part
from uls_data.recipe.reader import (
    ArchiveOnly,
    DeepLesion,
    DicomMasks,
    DicomObjects,
    LidcXml,
    Lndb,
    VolumePairs,
)
from uls_data.sources.format import Format

FORMATS: dict[type[Part], Format] = {
    VolumePairs: Format("pairs.find:find_pairs", "pairs.lesions:open_pair"),
    DicomMasks: Format("dicom.find:find_masked", "dicom.lesions:open_masked"),
    DicomObjects: Format("dicom.find:find_referred", "dicom.lesions:open_referred"),
    LidcXml: Format("lidc.find:find_readings", "lidc.lesions:open_readings"),
    Lndb: Format("lndb.find:find_scans", "lndb.lesions:open_scan"),
    DeepLesion: Format(
        "deeplesion.find:find_key_slices", "deeplesion.lesions:open_key_slice", measured=True
    ),
    Measurements: Format(
        "measurements.find:find_measured", "measurements.lesions:open_measured", measured=True
    ),
    ArchiveOnly: Format("archive_only:find", "archive_only:open_case"),
}


def format_of(recipe: Recipe) -> Format:
    """Format of the raw archive that a recipe reads."""
    return FORMATS[type(recipe.reader)]
