"""`python -m tools.pins RECIPE...`: write the lists of series that recipes pin, from IDC's index.

The index is the package `idc-index-data`, which need not be installed for anything else:

    pip install idc-index-data==25.0.5
    python -m tools.pins recipes/eay131/recipe.yaml

A recipe's `fetch.idc` says which series; the same index gives the same bytes. The IDC's checks of
each series' geometry are a table that the package describes but does not hold
(`volume_geometry_index.parquet`; the package `idc-index` downloads it). `--geometry` joins it.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from uls_data.errors import RecipeError
from uls_data.fetching.series_list import SCHEMA, read_series, write_series
from uls_data.recipe import load_recipe
from uls_data.recipe.pinned import PinnedSeries

# Columns of the index, and what the list calls them.
_COLUMNS = {
    "PatientID": "patient_id",
    "StudyInstanceUID": "study_instance_uid",
    "SeriesInstanceUID": "series_instance_uid",
    "Modality": "modality",
    "crdc_series_uuid": "crdc_series_uuid",
    "aws_bucket": "bucket",
    "instanceCount": "files",
    "license_short_name": "licence",
}
_FURTHER = ["collection_id", "analysis_result_id", "SeriesDescription", "series_size_MB"]
# Checks of IDC's volume geometry index, in words.
CHECKS = {
    "single_orientation": "slices turned against each other",
    "orthogonal_orientation": "rows and columns not at right angles",
    "unique_slice_positions": "slices at one position",
    "consistent_in_plane_row": "slices shifted along rows",
    "consistent_in_plane_col": "slices shifted along columns",
    "consistent_pixel_spacing": "pixels of several sizes",
    "consistent_image_dimensions": "slices of several sizes",
    "uniform_slice_spacing": "uneven steps between slices",
}
EVEN = "regularly_spaced_3d_volume"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pins")
    parser.add_argument("recipes", nargs="+", metavar="NAME|FILE")
    parser.add_argument("--index", type=Path, help="idc_index.parquet; else the package's own")
    parser.add_argument("--geometry", type=Path, help="volume_geometry_index.parquet")
    chosen = parser.parse_args(arguments)
    path = chosen.index or installed()
    version = index_version(path)
    index = pq.read_table(path, columns=[*_COLUMNS, *_FURTHER])
    geometry = pq.read_table(chosen.geometry) if chosen.geometry else None
    for name in chosen.recipes:
        loaded = load_recipe(name)
        pinned = loaded.recipe.fetch.idc if loaded.recipe.fetch else None
        if pinned is None:
            raise SystemExit(f"{name}: pins no series: fetch.idc is missing")
        if pinned.index != version:
            raise SystemExit(f"{name}: pins idc-index-data {pinned.index}; {path} is {version}")
        beside = loaded.path.parent / pinned.series
        try:
            write_series(beside, series_of(pinned, index, geometry), version)
            listed = read_series(beside, version)
        except RecipeError as error:
            raise SystemExit(str(error)) from error
        kinds = Counter(one.modality for one in listed)
        print(
            f"{beside.name} of {loaded.recipe.source}: {len(listed)} series "
            f"({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}) of "
            f"{len({one.patient_id for one in listed})} patients, "
            f"{sum(one.size_bytes for one in listed) / 1e9:.1f} GB, "
            f"{', '.join(sorted({one.licence for one in listed}))}; {beside.stat().st_size} bytes"
        )


def installed() -> Path:
    """Table of the installed package `idc-index-data`."""
    try:
        from idc_index_data import IDC_INDEX_PARQUET_FILEPATH
    except ImportError:
        raise SystemExit("pip install idc-index-data, or give --index") from None
    return Path(IDC_INDEX_PARQUET_FILEPATH)


def index_version(path: Path) -> str:
    """Version of `idc-index-data` that a table comes from."""
    said = (pq.read_schema(path).metadata or {}).get(b"idc_index_data_version", b"").decode()
    match = re.match(r"\d+\.\d+\.\d+", said)
    if match is None:
        raise SystemExit(f"{path}: does not say its version of idc-index-data")
    return match[0]


def series_of(pinned: PinnedSeries, index: pa.Table, geometry: pa.Table | None = None) -> pa.Table:
    """Rows of a list: the annotations that a recipe names, and the images of their studies.

    Raises
    ------
    RecipeError
        There are none.
    """
    own = pa.array(pinned.collections)
    here = index.filter(pc.is_in(index["collection_id"], own))
    owner = pc.coalesce(here["analysis_result_id"], here["collection_id"])
    annotations = here.filter(
        pc.and_(
            pc.and_(
                pc.is_in(owner, pa.array(pinned.annotations_of)),
                pc.is_in(here["Modality"], pa.array(pinned.annotations)),
            ),
            pc.match_substring_regex(
                pc.coalesce(here["SeriesDescription"], ""), f"^(?:{pinned.described})$"
            ),
        )
    )
    studies = annotations["StudyInstanceUID"].combine_chunks()
    images = here.filter(
        pc.and_(
            pc.and_(
                pc.is_in(here["StudyInstanceUID"], studies),
                pc.is_in(here["Modality"], pa.array(pinned.images)),
            ),
            # Images that another analysis made are not the source's.
            pc.or_(
                pc.is_null(here["analysis_result_id"]),
                pc.is_in(here["analysis_result_id"], pa.array(pinned.annotations_of)),
            ),
        )
    )
    for what, found in (("annotations", annotations), ("images", images)):
        if not len(found):
            raise RecipeError(f"fetch.idc: the index has no such {what}")
    both = pa.concat_tables([annotations, images])
    columns = {name: both[column] for column, name in _COLUMNS.items()}
    columns["crdc_series_uuid"] = pa.array(
        [UUID(text).bytes for text in both["crdc_series_uuid"].to_pylist()], pa.binary(16)
    )
    # The index has megabytes (10^6) to the byte.
    columns["size_bytes"] = pa.array(
        [round(size * 1e6) for size in both["series_size_MB"].to_pylist()], pa.int64()
    )
    even, why = _geometry(both["SeriesInstanceUID"].to_pylist(), geometry)
    columns["even"] = pa.array(even, pa.bool_())
    columns["uneven_because"] = pa.array(why, pa.string())
    return pa.table({name: columns[name] for name in SCHEMA.names})


def _geometry(
    series: list[str], geometry: pa.Table | None
) -> tuple[list[bool | None], list[str | None]]:
    """Whether each series is an even stack, and what speaks against it; None where not known."""
    if geometry is None:
        return [None] * len(series), [None] * len(series)
    wanted = geometry.filter(pc.is_in(geometry["SeriesInstanceUID"], pa.array(series)))
    known = {row["SeriesInstanceUID"]: row for row in wanted.to_pylist()}
    even: list[bool | None] = []
    why: list[str | None] = []
    for uid in series:
        row = known.get(uid, {})
        even.append(row.get(EVEN))
        failed = [words for check, words in CHECKS.items() if row.get(check) is False]
        why.append((", ".join(failed) or None) if row.get(EVEN) is False else None)
    return even, why


if __name__ == "__main__":
    main()
