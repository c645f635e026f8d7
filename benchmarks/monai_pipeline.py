"""The competitor: the same VOIs written with MONAI's dictionary transforms.

Frozen: it is what a user gets from MONAI's documentation without knowing this
package, in a lean form (integer dtypes from the loader on, loading and padding
once a scan, no deep copy of the scan). Change it only to make MONAI faster.

Run as `python -m benchmarks.monai_pipeline --raw DIR --out DIR`; prints one JSON line.
`--indices` is the harder competitor: RandCropByPosNegLabeld lists every lesion and
every background voxel of the padded scan for every lesion, which is most of the
time; with the switch it gets the lesion's voxels, known from the components, and
skips that search. Both write the same VOIs.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    BorderPadd,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    RandCropByPosNegLabeld,
    SaveImaged,
)
from monai.utils import set_determinism
from scipy import ndimage
from skimage.measure import regionprops

VOI_SHAPE = (256, 256, 128)
HALF_VOI = tuple(n // 2 for n in VOI_SHAPE)
MINIMUM_LENGTH_VOX = 5.0
KEYS = ("image", "label")
SUFFIX = ".nii.gz"


def file_name(meta: dict[str, Any], _saver: object) -> dict[str, Any]:
    """Name of a VOI from its metadata; MONAI appends the sample number and the suffix."""
    return {"subject": meta["voi_name"], "idx": 0}


def saver(key: str, folder: Path, dtype: type) -> SaveImaged:
    """Transform that writes one key to its folder."""
    return SaveImaged(
        keys=key,
        output_dir=folder,
        output_postfix="",
        output_ext=SUFFIX,
        output_dtype=dtype,
        resample=False,
        separate_folder=False,
        print_log=False,
        output_name_formatter=file_name,
    )


def run(raw: Path, out: Path, *, indices: bool = False) -> int:
    """Write every lesion's VOI of every scan below `raw`; returns how many that were."""
    load = Compose(
        [
            # The loader's default is float32, which doubles the memory of a CT.
            LoadImaged(keys="image", image_only=True, dtype=np.int16),
            LoadImaged(keys="label", image_only=True, dtype=np.uint8),
            EnsureChannelFirstd(keys=KEYS),
            Orientationd(keys=KEYS, axcodes="RAS", labels=None),
        ]
    )
    # Compose hands the seed of set_determinism on to the random crop.
    cut_and_save = Compose(
        [
            RandCropByPosNegLabeld(
                keys=KEYS,
                label_key="label",
                spatial_size=VOI_SHAPE,
                pos=1,
                neg=0,
                num_samples=1,
                fg_indices_key="fg_indices",
                bg_indices_key="bg_indices",
            ),
            saver("image", out / "images", np.int16),
            saver("label", out / "labels", np.uint8),
        ]
    )
    written = 0
    for image_path in sorted((raw / "images").glob(f"*{SUFFIX}")):
        case = image_path.name.removesuffix(SUFFIX)
        scan = load({"image": image_path, "label": raw / "masks" / image_path.name})

        components, count = ndimage.label(scan["label"][0].numpy())
        kept = [
            region
            for region in regionprops(components)
            if region.axis_major_length >= MINIMUM_LENGTH_VOX
        ]
        # The lesions' numbers become the label, so that it is padded once a scan.
        narrow = torch.uint8 if count < 256 else torch.int32
        scan["label"] = scan["label"].to(narrow)
        scan["label"].set_array(components[None])

        low = int(scan["image"].min())
        pad = Compose(
            [
                BorderPadd(keys="image", spatial_border=HALF_VOI, mode="constant", value=low - 1),
                BorderPadd(keys="label", spatial_border=HALF_VOI, mode="constant", value=0),
            ]
        )
        scan = pad(scan)

        for region in kept:
            voi_name = f"{case}_lesion_{region.label:02d}_sample"
            lesion: dict[str, Any] = {
                "image": scan["image"],
                "label": scan["label"] == region.label,
            }
            if indices:
                voxels = (region.coords + np.array(HALF_VOI)).T
                inside = np.ravel_multi_index(tuple(voxels), tuple(scan["label"].shape[1:]))
                # With neg=0 the background is never drawn from, but must be given.
                lesion |= {"fg_indices": inside, "bg_indices": inside}
            for key in KEYS:
                lesion[key].meta["voi_name"] = voi_name
            cut_and_save(lesion)
            written += 1
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--indices", action="store_true")
    arguments = parser.parse_args()
    # One worker, as the other side of the comparison.
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    set_determinism(42)
    start = time.perf_counter()
    vois = run(arguments.raw, arguments.out, indices=arguments.indices)
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"vois": vois, "seconds": round(seconds, 3), "peak_mb": round(peak_mb, 1)}))


if __name__ == "__main__":
    main()
