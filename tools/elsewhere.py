"""What a teacher that is told the lines is worth on other sets than the one that it learned from.

Three lesions of DeepLesion: the lines of NIH's readers, against 3D masks that a model made and
experts checked. Two lungs: a scan of pyradiomics and the phantom of the IBSI, with lines across
their masks. DATA holds `medsam2-deeplesion/CT_Lesion_*.npz` (github.com/bowang-lab/MedSAM2,
`data/RECIST_train_npz`), `deeplesion/Kaggle_DL_info.csv`, `pyradiomics-lung1/` and
`ibsi-ct-phantom/nifti/`.

    python -m tools.elsewhere DATA --model OUT/models/prompted --to FOLDER
    python -m tools.elsewhere DATA --member jury_3d --to FOLDER
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.teacher import LAYER, measured, recipe_of
from uls_data import build, evaluate, predict
from uls_data.ensemble import member_of, write_layer
from uls_data.manifest.by_axis import origin_of
from uls_data.manifest.example import Example, read_examples
from uls_data.nifti_writer import nifti_gz
from uls_data.outcome import Status
from uls_data.voi import VOI_SHAPE

_ZERO_HU = 32768
_NAME = re.compile(r"CT_Lesion_(\d{6}_\d{2}_\d{2})_(\d{3})-(\d{3})")
# Where each lung's image and mask lie; `{case}` is what makes the patient's name.
_LUNGS = {
    "lung1": ("pyradiomics-{case}/{case}_image.nrrd", "pyradiomics-{case}/{case}_label.nrrd"),
    "ibsi": ("ibsi-ct-{case}/nifti/image/{case}.nii.gz", "ibsi-ct-{case}/nifti/mask/mask.nii.gz"),
}


def make_deeplesion(data: Path, out: Path) -> None:
    """Write the three scans as NIH's archive holds them, build it, and write the true masks."""
    text = (data / "deeplesion" / "Kaggle_DL_info.csv").read_text()
    table = csv.DictReader(io.StringIO(text))
    rows, truths = [], {}
    every = list(table)
    for path in sorted((data / "medsam2-deeplesion").glob("*.npz")):
        named = _NAME.match(path.name)
        assert named is not None
        series, first = named[1], int(named[2])
        scan = np.load(path, allow_pickle=False)
        mask = scan["gts"] > 0  # z, x, y
        largest = first + int(mask.sum(axis=(1, 2)).argmax())
        (row,) = [r for r in every if r["File_name"] == f"{series}_{largest:03d}.png"]
        rows.append(row)
        low, high = (float(cell) for cell in row["DICOM_windows"].split(","))
        hu = np.rint(low + scan["imgs"] / 255 * (high - low)).astype(np.int32)
        folder = out / "raw" / "Images_png" / series
        folder.mkdir(parents=True, exist_ok=True)
        for at, plane in enumerate(hu):
            image = Image.fromarray((plane.T + _ZERO_HU).astype(np.uint16))
            image.save(folder / f"{first + at:03d}.png")
        # Columns run to the patient's left, rows to the back, slices to the feet.
        truths[series] = mask.transpose(1, 2, 0)[::-1, ::-1, ::-1]
    with (out / "raw" / "DL_info.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    build("deeplesion", out / "raw", out / "vois", workers=1)
    for example in read_examples(out / "vois"):
        series = example.row["case_id"].rsplit("_", 1)[0]
        write_truth(example, truths[series], out / "truth")


def write_truth(example: Example, mask: NDArray[Any], out: Path) -> None:
    """Write a mask of the scan, shape (x, y, z), as the label of a VOI."""
    row = example.row
    assert row["status"] == Status.OK, row
    voi = np.zeros(VOI_SHAPE, np.uint8)
    start = [at for at in origin_of(row) if at is not None]
    low = [max(0, at) for at in start]
    high = [min(n, at + m) for n, at, m in zip(mask.shape, start, VOI_SHAPE, strict=True)]
    inside = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    voi[inside] = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    out.mkdir(parents=True, exist_ok=True)
    data = nifti_gz(voi, np.array(row["affine"]).reshape(4, 4))
    (out / f"{row['voi_id']}.nii.gz").write_bytes(data)


def make_lungs(data: Path, out: Path) -> None:
    """Build both lungs, and the rows that a reader of their longest slice would have left."""
    out.mkdir(parents=True, exist_ok=True)
    for name, (image, mask) in _LUNGS.items():
        recipe = recipe_of(name, image, mask, "lung")
        (out / f"{name}.yaml").write_text(recipe)
        build(str(out / f"{name}.yaml"), data, out / "full", workers=1)
    rows = [e for e in read_examples(out / "full") if e.row["status"] == Status.OK]
    measured(rows, out / "weak", 0.0, 0)


def main(arguments: list[str]) -> int:
    """Build what is not there yet, predict and print a table; see the module's text."""
    parser = argparse.ArgumentParser(prog="tools.elsewhere", description=__doc__)
    parser.add_argument("data", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", type=Path, action="append")
    which.add_argument("--member", help="of an ensemble, instead of a model")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--key-slice", default="auto")
    parser.add_argument("--no-image-vote", action="store_true")
    given = parser.parse_args(arguments)
    far, lungs = given.to / "deeplesion", given.to / "lungs"
    if not (far / "truth").is_dir():
        make_deeplesion(given.data, far)
    if not (lungs / "weak").is_dir():
        make_lungs(given.data, lungs)
    options = {"device": given.device, "tta": given.tta, "key_slice": given.key_slice}
    options["image_vote"] = False if given.no_image_vote else None
    names = given.member or "+".join(model.name for model in given.model)
    name = f"{names}{'-tta' if given.tta else ''}-{given.key_slice}"
    name += "-alone" if given.no_image_vote else ""
    for manifests, truth, to in (
        ([far / "vois"], far / "truth", far / "masks" / name),
        ([lungs / "full", lungs / "weak"], lungs / "full", lungs / "masks" / name),
    ):
        if given.member:
            made = write_layer(manifests, member_of(given.member), to, parents=(LAYER,))
        else:
            report = predict(manifests, given.model, to, parents=(LAYER,), **options)
            made = report.manifest
        found = evaluate(made, truth)
        least = {} if found.ellipsoid is None else {r["voi_id"]: r for r in found.ellipsoid.rows}
        for row in found.rows:
            beside = least.get(row["voi_id"], {}).get("dice", float("nan"))
            print(f"{name} {row['voi_id']}: Dice {row['dice']:.4f}, ellipsoid {beside:.4f}")
        print(f"{name} mean of {len(found.rows)}: {fmean(r['dice'] for r in found.rows):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
