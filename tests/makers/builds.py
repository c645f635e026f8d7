"""Builds as small as they can be: rows with every promise kept, and files of a few bytes.

A release never decodes a VOI, so its files may be noise; where masks are compared, they are
real ones.
"""

from __future__ import annotations

import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from uls_data.io import sha256_bytes, sha256_voxels
from uls_data.manifest import write_manifest
from uls_data.manifest.parquet import iterate_rows, manifest_files
from uls_data.manifest.row import Row
from uls_data.nifti_writer import nifti_gz
from uls_data.recipe import load_recipe
from uls_data.release import ReleaseReport, release_build
from uls_data.voi import VOI_SHAPE

# Ten VOIs in five parts.
SMALL_PARTS = 110_000


def voi_row(source: str, number: int, **changes: Any) -> Row:
    """Row of an ok VOI without its files."""
    licence = load_recipe(source).recipe.licence
    case = f"case_{number:05}"
    return {
        "source": source,
        "case_id": case,
        "patient_id": f"{number:05}",
        "lesion_index": 1,
        "sample_index": 0,
        "voi_id": f"{case}_lesion_01_sample_0",
        "layer": "annotated",
        "status": "ok",
        "reason": None,
        "detail": None,
        "parent_layer": None,
        "software_version": "0.1.0",
        "recipe_version": 1,
        "profile": "paper",
        "seed": 0,
        "licence": licence.name,
        "redistributable": licence.redistributable,
        "lesion_type": "kidney",
        "supervision": "full",
        "split": "train",
        "qc_flags": [],
        "affine": np.diag([0.8, 0.8, 2.5, 1.0]).ravel().tolist(),
        **{f"spacing_{axis}_mm": size for axis, size in zip("xyz", (0.8, 0.8, 2.5), strict=True)},
        **{f"click_{axis}_vox": 100 + number for axis in "xyz"},
        "long_axis_vox": 12.5 + number,
        "short_axis_vox": 8.25,
        "mask_voxels": 400,
        **changes,
    }


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def put(out: Path, row: Row, mask: np.ndarray[Any, Any] | None = None, size: int = 20_000) -> Row:
    """Write the files of a row; returns it with their names and hashes."""
    noise = random.Random(f"{row['source']} {row['voi_id']}")
    image = noise.randbytes(size)
    name = f"{row['voi_id']}.nii.gz"
    affine = np.array(row["affine"]).reshape(4, 4)
    if mask is None:
        label = random.Random(f"{row['voi_id']} {row['layer']}").randbytes(size // 10)
        voxels_sha256 = sha256_bytes(label[::-1])
    else:
        label, voxels_sha256 = nifti_gz(mask, affine), sha256_voxels(mask)
    paths = {
        "image": f"{row['source']}/images/{name}",
        "label": f"{row['source']}/labels/{row['layer']}/{name}",
    }
    write(out / paths["image"], image)
    write(out / paths["label"], label)
    return {
        **row,
        "image_path": paths["image"],
        "label_path": paths["label"],
        "image_sha256": sha256_bytes(image),
        "label_sha256": sha256_bytes(label),
        "image_voxels_sha256": sha256_bytes(image[::-1]),
        "label_voxels_sha256": voxels_sha256,
    }


def write_rows(out: Path, rows: list[Row], name: str | None = None) -> None:
    for source in {row["source"] for row in rows}:
        mine = [row for row in rows if row["source"] == source]
        write_manifest(mine, out / "manifest" / f"{name or source}.parquet")


def make_build(out: Path, sources: dict[str, int]) -> list[Row]:
    """VOIs of some sources, the second of each with a second layer; one skipped lesion each."""
    rows = []
    for source, count in sources.items():
        rows += [put(out, voi_row(source, number)) for number in range(count)]
        rows.append(put(out, voi_row(source, 1, layer="reader-1")))
        rows.append(
            voi_row(source, 99, status="skipped", reason="below_minimum_size", detail="3.1 < 5")
        )
    write_rows(out, rows)
    return rows


def make_release(folder: Path, sources: dict[str, int], **options: Any) -> ReleaseReport:
    """Build and release in two folders below `folder`."""
    make_build(folder / "out", sources)
    options = {"part_size": SMALL_PARTS, **options}
    return release_build(folder / "out", folder / "release", "1.0", **options)


def unpack(release: Path, to: Path, *, texts: bool = True) -> None:
    """Unpack all parts; `texts`: with what is beside them."""
    for path in sorted(release.rglob("*")):
        if path.suffix == ".tar":
            with tarfile.open(path) as tar:
                tar.extractall(to, filter="data")
        elif texts and path.is_file():
            write(to / path.relative_to(release), path.read_bytes())


def ball(radius: float, at: tuple[int, int, int] = (128, 128, 64)) -> np.ndarray[Any, Any]:
    x, y, z = np.ogrid[: VOI_SHAPE[0], : VOI_SHAPE[1], : VOI_SHAPE[2]]
    inside = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 <= radius**2
    return np.asfortranarray(inside, np.uint8)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


TWO = {"kits21": 6, "mdsc_lung": 4}


def members_of(part: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(part) as tar:
        return tar.getmembers()


def load_rows(out: Path) -> list[dict[str, Any]]:
    return [row for file in manifest_files(out) for row in iterate_rows(file)]
