"""`python -m tools.collections`: what the index of the IDC counts of the recipes' collections.

Compares the package `idc-index-data` (installed, or `--index idc_index.parquet`) with what each
recipe expects, and prints what its `lesion_types` make of the names of all series. The table of all
recipes in docs/collections.md is made here too, by `make schema`, from the recipes alone.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tools.pins import index_version, installed, series_of
from uls_data.fetching.series_list import read_series
from uls_data.recipe import Recipe, load_recipe, recipe_names
from uls_data.recipe.model import Counts
from uls_data.recipe.pinned import PinnedSeries
from uls_data.recipe.reader import DicomObjects, LidcXml

_COLUMNS = [
    *("collection_id", "analysis_result_id", "PatientID", "StudyInstanceUID", "Modality"),
    *("SeriesInstanceUID", "SeriesDescription", "crdc_series_uuid", "aws_bucket"),
    *("instanceCount", "license_short_name", "series_size_MB"),
]
_INDEXED, _PUBLISHED = "index", "labels"
BEGIN = "<!-- recipes: written by `make schema` -->\n"
END = "<!-- recipes end -->"


def read_index(path: Path) -> pa.Table:
    """Columns of the index that are looked at."""
    return pq.read_table(path, columns=_COLUMNS)


def pinned_recipes() -> Iterator[Recipe]:
    """Recipes whose series the index lists."""
    for name in recipe_names():
        recipe = load_recipe(name).recipe
        if recipe.expect.counts is not None:
            yield recipe


class Annotation(NamedTuple):
    """One object as the index has it."""

    patient: str
    study: str
    description: str


def objects_of(recipe: Recipe, index: pa.Table) -> list[Annotation]:
    """Objects that a recipe reads lesions from."""
    reader, pinned = recipe.reader, recipe.fetch.idc if recipe.fetch else None
    assert isinstance(reader, DicomObjects) and pinned is not None
    pattern = re.compile(reader.objects)
    here = index.filter(
        pc.and_(
            pc.is_in(index["SeriesInstanceUID"], _series(pinned, index)),
            pc.is_in(index["Modality"], pa.array([kind.upper() for kind in reader.kinds])),
        )
    )
    names = ("PatientID", "StudyInstanceUID", "SeriesDescription")
    rows = zip(*(here[name].to_pylist() for name in names), strict=True)
    found = [Annotation(patient, study, text or "") for patient, study, text in rows]
    return [one for one in found if pattern.fullmatch(one.description)]


def _series(pinned: PinnedSeries, index: pa.Table) -> pa.Array:
    uids = series_of(pinned, index)["series_instance_uid"].combine_chunks()
    return uids.cast(index.schema.field("SeriesInstanceUID").type)


def counted(recipe: Recipe, index: pa.Table) -> Counts:
    """What the index counts of a recipe's collection."""
    assert recipe.fetch is not None and recipe.fetch.idc is not None
    listed = series_of(recipe.fetch.idc, index)
    objects = objects_of(recipe, index)
    images = listed.filter(pc.is_in(listed["modality"], pa.array(recipe.fetch.idc.images)))
    scanned = set(images["study_instance_uid"].to_pylist())
    return Counts(
        objects=len(objects),
        with_images=sum(one.study in scanned for one in objects),
        patients=len({one.patient for one in objects}),
        images=len(images),
        gigabytes=round(sum(listed["size_bytes"].to_pylist()) / 1e9, 1),
    )


def types_of(recipe: Recipe, index: pa.Table) -> Counter[str]:
    """Objects by the lesion type that the names of their series give."""
    rules = [
        (re.compile(one.series), one.type.value)
        for one in recipe.lesion_types
        if one.series is not None
    ]
    found: Counter[str] = Counter()
    for one in objects_of(recipe, index):
        fitting = (kind for pattern, kind in rules if pattern.fullmatch(one.description))
        found[next(fitting, recipe.lesion_type.value)] += 1
    return found


def followed(recipe: Recipe, index: pa.Table) -> tuple[int, int]:
    """Lesions that one name follows through several studies, and the patients of those."""
    pattern = re.compile(recipe.timeline.series or "")
    studies: dict[tuple[str, str], set[str]] = {}
    for one in objects_of(recipe, index):
        match = pattern.fullmatch(one.description)
        if match is not None and match[1]:
            studies.setdefault((one.patient, match[1].lower()), set()).add(one.study)
    several = [patient for (patient, _), found in studies.items() if len(found) > 1]
    return len(several), len(set(several))


def shared_scans() -> dict[tuple[str, str], int]:
    """CT series that two shipped recipes list, by the names of the recipes; no pixel is needed."""
    listed: dict[str, set[str]] = {}
    for name in recipe_names():
        loaded = load_recipe(name)
        recipe = loaded.recipe
        if isinstance(recipe.reader, LidcXml):
            listed[name] = {one.series_instance_uid for one in recipe.reader.crosswalk}
        elif recipe.fetch is not None and recipe.fetch.idc is not None:
            series = read_series(loaded.path.parent / recipe.fetch.idc.series)
            listed[name] = {one.series_instance_uid for one in series if one.modality == "CT"}
    both = {(a, b): len(listed[a] & listed[b]) for a, b in combinations(sorted(listed), 2)}
    return {pair: number for pair, number in both.items() if number}


def table() -> str:
    """All recipes as a Markdown table."""
    lines = [
        "| source | type | objects | on CT | patients | CT series | GB | annotated | licence "
        "| checked |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in recipe_names():
        recipe = load_recipe(name).recipe
        counts = recipe.expect.counts
        lesions, series = recipe.expect.lesions, recipe.expect.series
        if counts is None:
            of_paper = (f"{lesions:,} lesions" if lesions else "", f"{series:,}" if series else "")
            numbers = [of_paper[0], "", "", of_paper[1], ""]
        else:
            whole = (counts.objects, counts.with_images, counts.patients, counts.images)
            numbers = [*(f"{number:,}" for number in whole), f"{counts.gigabytes:g}"]
        cells = [
            f"`{recipe.source}`",
            recipe.lesion_type.value if not recipe.lesion_types else "by organ",
            *numbers,
            recipe.annotation_scope.value if not recipe.annotation_scopes else "by object",
            recipe.licence.name,
            recipe.verified or (_PUBLISHED if counts is None else _INDEXED),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_recipes(page: str) -> str:
    """Return a page with the table of recipes between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.collections")
    parser.add_argument("--index", type=Path, help="idc_index.parquet; else the package's own")
    path = parser.parse_args().index or installed()
    index = read_index(path)
    print(f"idc-index-data {index_version(path)}")
    for recipe in pinned_recipes():
        counts = counted(recipe, index)
        same = "as expected" if counts == recipe.expect.counts else f"NOT {recipe.expect.counts}"
        print(f"{recipe.source}: {counts}; {same}")
        if recipe.lesion_types:
            kinds = types_of(recipe, index).most_common()
            print("  " + ", ".join(f"{number:,} {kind}" for kind, number in kinds))
        if recipe.timeline.series is not None:
            lesions, patients = followed(recipe, index)
            print(f"  {lesions} lesions of {patients} patients in several studies by name")
    for (one, other), number in shared_scans().items():
        print(f"{one} and {other} share {number} CT series")


if __name__ == "__main__":
    main()
