"""Walk a VOI's chain again: build its case from the raw data, and compare every link."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from uls_data.errors import CaseError, SourceError
from uls_data.factory import BuildReport, build
from uls_data.factory.state import State
from uls_data.geometry import spacing_mm
from uls_data.io import sha256_file, sha256_voxels
from uls_data.manifest.parquet import write_manifest
from uls_data.manifest.row import Column, Row
from uls_data.outcome import Reason, Status
from uls_data.provenance.lineage import Found
from uls_data.provenance.link import DIFFERS, SAME, STATES, UNKNOWN, Link
from uls_data.pseudomask.methods import METHODS
from uls_data.recipe import Recipe, load_recipe
from uls_data.sources.find import find_cases
from uls_data.sources.open import open_case
from uls_data.voi import hounsfield
from uls_data.volumes.raw_root import check_inside

_OF_THE_IMAGE = frozenset({Reason.IMAGE_MISSING, Reason.NOT_CT, Reason.MISSING_SLICES})
_SAME_MM = 1e-3


def walk(
    row: Row,
    links: dict[str, Link],
    raw: Path,
    recipe: str | Path,
    found: Found,
    replayed: bool,
) -> None:
    """Build the case of a row again, and write into its links what differs.

    Parameters
    ----------
    row : dict
        Of the layer that was cut, not of one that was made from it.
    links : dict of str to Link
        By name.
    found : Found
        The same row with its manifest, whose position is replayed where `replayed`.
    """
    loaded = load_recipe(str(recipe))
    for name in ("raw image", "raw label"):
        _compare_file(links[name], raw)
    _compare(
        links["recipe"], {"recipe_sha256": loaded.sha256, **_recipe_states(loaded.recipe, row)}
    )
    with TemporaryDirectory(prefix="uls-data-explain-") as folder:
        out = Path(folder)
        try:
            report = _built(row, raw, recipe, out, replayed)
        except SourceError as error:
            links["raw label"].differs(str(error))
            return
        _compare_decoded(links["decoded voxels"], loaded.recipe, row, raw, out)
        again = _same_row(report.rows, row)
        if again is None:
            _not_there(report.rows, row, links)
            return
        for name in ("raw image", "raw label", "instance", "click", "VOI", "mask"):
            if name == "click" and replayed:
                links[name].words += " (from a manifest, not drawn)"
            _compare(links[name], again)


def _built(row: Row, raw: Path, recipe: str | Path, out: Path, replayed: bool) -> BuildReport:
    positions = None
    if replayed:
        positions = out / "positions.parquet"
        write_manifest([row], positions)
    method = row["layer"] if row["layer"] in METHODS and row["layer"] != "published" else None
    return build(
        recipe,
        raw,
        out / "vois",
        profile=row["profile"] or "paper",
        seed=row["seed"] or 0,
        clicks=1 if replayed else (row["sample_index"] or 0) + 1,
        only=[row["case_id"]],
        labels_only=row["image_voxels_sha256"] is None,
        replay=positions,
        masks=[method] if method else [],
    )


def _recipe_states(recipe: Recipe, row: Row) -> Row:
    return {
        "recipe_version": recipe.recipe_version,
        "profile": row["profile"],
        "seed": row["seed"],
    }


def _compare(link: Link, again: Mapping[str, Any]) -> None:
    """Compare what the manifest states of a link; what it leaves open is not compared."""
    stated = [c for c in STATES[link.name] if link.states[c] is not None and c in again]
    different = [c for c in stated if not _equal(c, link.states[c], again[c])]
    for column in different:
        link.differs(f"{column}: {_short(link.states[column])}, walked {_short(again[column])}")
    if not different and link.walked is None:
        link.walked = SAME if stated else UNKNOWN


def _equal(column: str, one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            math.isclose(a, b, rel_tol=0, abs_tol=_SAME_MM) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5)
    return bool(one == other)


def _short(value: Any) -> str:
    text = str(value)
    return text[:16] if len(text) == 64 else text[:60]


def _compare_file(link: Link, raw: Path) -> None:
    """Compare the hash of a raw file; where it is several files, the case's row tells."""
    name, stated = link.states[f"{link.name.removeprefix('raw ')}_source"], link.sha256
    if name is None:
        return
    try:
        check_inside(Path(name), raw)
    except CaseError as error:
        link.differs(error.detail)
        return
    path = raw / name
    if not path.exists():
        link.differs(f"{name} is not below the raw root")
    elif path.is_file() and path.name.endswith((".nii", ".nii.gz", ".mha", ".nrrd")):
        there = sha256_file(path)
        if there != stated:
            link.differs(f"{name} is file {there[:16]}, the manifest says {stated[:16]}")


def _compare_decoded(link: Link, recipe: Recipe, row: Row, raw: Path, out: Path) -> None:
    """Decode the case once more, for the hash of its voxels and its spacing."""
    cache = State(out / "vois", recipe.source).headers
    wanted = row["image_voxels_sha256"] is not None
    try:
        (case,) = (
            case
            for case in find_cases(recipe, raw, need_images=wanted, cache=cache)
            if case.case_id == row["case_id"]
        )
        if case.problem is not None:
            raise CaseError(*case.problem)
        opened = open_case(case, recipe, raw, labels_only=not wanted)
    except CaseError as error:
        link.differs(f"{error.reason.value}: {error.detail}")
        return
    spacing = dict(zip(STATES[link.name], spacing_mm(opened.reference.affine), strict=True))
    _compare(link, spacing)
    volume = opened.scan or opened.reference
    with suppress(CaseError):  # values that are not HU are only an error inside a VOI
        voxels, _ = hounsfield(volume.ras, volume.slope, volume.intercept)
        what = "scan" if opened.scan is not None else "mask"
        link.words += f"; {what} of {volume.ras.shape} voxels: {sha256_voxels(voxels)}"


def _same_row(rows: list[Row], row: Row) -> Row | None:
    names: tuple[Column, ...] = ("lesion_index", "sample_index", "layer")
    for again in rows:
        if all(again[name] == row[name] for name in names) and again["status"] == Status.OK:
            return again
    return None


def _not_there(rows: list[Row], row: Row, links: dict[str, Link]) -> None:
    """Say where the chain breaks if the case, or the lesion in it, gave no VOI."""
    of_it = [again for again in rows if again["lesion_index"] == row["lesion_index"]]
    whole = [again for again in rows if again["lesion_index"] is None]
    if not of_it and not whole:
        links["instance"].differs("the case has no such lesion")
        return
    ended = (of_it or whole)[0]
    why = f"{ended['reason']}: {ended['detail']}"
    if ended["reason"] in _OF_THE_IMAGE:
        links["raw image"].differs(why)
    elif ended["reason"] == Reason.MASK_MISSING:
        links["raw label"].differs(why)
    elif of_it:
        name = "click" if ended["reason"] == Reason.REPLAY_POSITION else "instance"
        links[name].differs(why)
    elif links["decoded voxels"].walked != DIFFERS:
        links["decoded voxels"].differs(why)
