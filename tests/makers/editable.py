"""A build whose masks can be edited, and where an edited mask must come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from makers.builds import ball, voi_row, write, write_rows
from uls_data import load_manifest, open_voi
from uls_data.errata import apply_errata
from uls_data.io import sha256_bytes, sha256_voxels
from uls_data.measure.label import describe_label
from uls_data.network.examples import find_examples
from uls_data.nifti_writer import nifti_gz
from uls_data.provenance import blame
from uls_data.release import release_build, release_verify

SOURCE, PAD_Z = "kits21", 30
AFFINE = np.diag([0.8, 0.8, 2.5, 1.0])
AFFINE[:3, 3] = (-31.5, 12.25, -804.0)
SPACING = (0.8, 0.8, 2.5)
Mask = NDArray[np.uint8]


def voi_id(number: int) -> str:
    return f"case_{number:05}_lesion_01_sample_0"


def image_of(mask: Mask, number: int) -> NDArray[np.int16]:
    """A bright lesion in noise, padded at the top."""
    noise = np.random.default_rng(number).normal(-50, 20, (32, 32, 128))
    image = np.asfortranarray(np.tile(noise, (8, 8, 1)).astype(np.int16))
    image[mask != 0] += np.int16(110)
    image[:, :, 128 - PAD_Z :] = image.min() - 1
    return image


def write_editable(out: Path, count: int = 2, **changes: Any) -> list[dict[str, Any]]:
    """Balls of 6, 7, ... voxels; all of it is real but the scans."""
    rows = []
    for number in range(count):
        mask = ball(6.0 + number)
        if changes.get("supervision") == "weak_2d":
            mask[:, :, :64] = mask[:, :, 65:] = 0
        image = image_of(mask, number)
        layer = changes.get("layer", "annotated")
        paths = {
            "image_path": f"{SOURCE}/images/{voi_id(number)}.nii.gz",
            "label_path": f"{SOURCE}/labels/{layer}/{voi_id(number)}.nii.gz",
        }
        data = {"image_path": nifti_gz(image, AFFINE), "label_path": nifti_gz(mask, AFFINE)}
        for name, path in paths.items():
            write(out / path, data[name])
        columns, flags = describe_label(mask, SPACING)
        padding = {f"pad_{side}_{axis}_vox": 0 for side in ("before", "after") for axis in "xyz"}
        rows.append(
            {
                **voi_row(SOURCE, number),
                **paths,
                **columns,
                **padding,
                "pad_after_z_vox": PAD_Z,
                "pad_value_hu": int(image.min()),
                "affine": AFFINE.ravel().tolist(),
                "image_sha256": sha256_bytes(data["image_path"]),
                "label_sha256": sha256_bytes(data["label_path"]),
                "image_voxels_sha256": sha256_voxels(image),
                "label_voxels_sha256": sha256_voxels(mask),
                "qc_flags": sorted(flags),
                **changes,
            }
        )
    write_rows(out, rows)
    return rows


def comes_back(out: Path, overlay: Path, number: int, mask: Mask, author: str, reason: str) -> None:
    """Apply an overlay: its mask must be in the release, in `blame`, and in what trains."""
    name = voi_id(number)
    report = apply_errata(overlay, out)
    assert {verdict.outcome for verdict in report.verdicts} == {"fits"}
    (row,) = [row for row in report.rows if row["voi_id"] == name]
    expected, _ = describe_label(mask, SPACING)
    assert {key: row[key] for key in expected} == expected

    assert np.array_equal(open_voi(name, out).mask, mask)
    train = {example.row["voi_id"]: example for example in find_examples(out).train}
    assert train[name].row["layer"] == "corrected"
    assert train[name].label == out / f"{SOURCE}/labels/corrected/{name}.nii.gz"
    assert {e.row["layer"] for key, e in train.items() if key != name} <= {"annotated"}

    event = blame(name, out)[-1]
    assert (event.kind, event.author) == ("replace", author)
    assert f"mask replaced: {reason} ({author}" in event.words

    released = release_build(out, out.parent / "release", "1.0")
    assert not release_verify(released.folder).findings
    found = load_manifest(released.folder, filters=[("voi_id", "==", name)])
    assert found["layer"].tolist() == ["corrected"]
    assert found["label_voxels_sha256"].tolist() == [sha256_voxels(mask)]
    log = (released.folder / "CHANGELOG.md").read_text()
    assert f"{SOURCE} {name}: mask replaced: {reason} ({author}" in log
