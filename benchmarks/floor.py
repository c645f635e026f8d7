"""The least a build could take: decode two volumes, encode the VOIs, nothing between.

Run as `python -m benchmarks.floor --raw DIR [--codecs]`; prints one JSON line. Cutting the
VOIs is not timed and nothing is written, so that memory would say nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deflate
import nibabel as nib
import numpy as np
from isal import igzip
from numpy.typing import NDArray
from scipy import ndimage

VOI_SHAPE = (256, 256, 128)
LEVEL = 1
ZLIB_LEVEL = 6


def array(data: bytes) -> NDArray[np.integer]:
    """Voxels of a decoded NIfTI file."""
    return np.asanyarray(nib.Nifti1Image.from_bytes(data).dataobj)


def voi(volume: NDArray[np.integer], centre: tuple[float, ...], fill: int) -> bytes:
    """Voxels around a centre in NIfTI order, filled where the scan ends."""
    result = np.full(VOI_SHAPE, fill, dtype=volume.dtype, order="F")
    inner, outer = [], []
    for at, size, n in zip(centre, VOI_SHAPE, volume.shape, strict=True):
        start = round(at) - size // 2
        low, high = max(start, 0), min(start + size, n)
        inner.append(slice(low - start, high - start))
        outer.append(slice(low, high))
    result[tuple(inner)] = volume[tuple(outer)]
    return result.tobytes(order="F")


def cut(image: NDArray[np.integer], mask: NDArray[np.integer]) -> list[tuple[bytes, bytes]]:
    """Image and label bytes of every lesion's VOI."""
    components, _ = ndimage.label(mask)
    boxes = enumerate(ndimage.find_objects(components), start=1)
    centres = {
        number: tuple((side.start + side.stop - 1) / 2 for side in box) for number, box in boxes
    }
    fill = int(image.min()) - 1
    return [
        (voi(image, centre, fill), voi((components == number).astype(np.uint8), centre, 0))
        for number, centre in centres.items()
    ]


def timed(encode: Callable[..., bytes], *arguments: Any, **options: Any) -> tuple[int, float]:
    """Bytes of the result and milliseconds it took."""
    start = time.perf_counter()
    size = len(encode(*arguments, **options))
    return size, 1000 * (time.perf_counter() - start)


def codecs(image: bytes, label: bytes) -> dict[str, float]:
    """Sizes and speeds of the two encoders on one VOI's image and label."""
    result: dict[str, float] = {}
    for name, data in (("image", image), ("label", label)):
        ours, ours_ms = timed(deflate.gzip_compress, data, LEVEL)
        zlib_, zlib_ms = timed(gzip.compress, data, ZLIB_LEVEL, mtime=0)
        result |= {
            f"{name}_bytes": len(data),
            f"{name}_libdeflate_1_bytes": ours,
            f"{name}_libdeflate_1_ms": round(ours_ms, 1),
            f"{name}_zlib_6_bytes": zlib_,
            f"{name}_zlib_6_ms": round(zlib_ms, 1),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--codecs", action="store_true", help="compare encoders on the first VOI")
    arguments = parser.parse_args()
    written, decode_s, encode_s = 0, 0.0, 0.0
    for image_path in sorted((arguments.raw / "images").glob("*.nii.gz")):
        start = time.perf_counter()
        decoded = [
            igzip.decompress(path.read_bytes())
            for path in (image_path, arguments.raw / "masks" / image_path.name)
        ]
        decode_s += time.perf_counter() - start
        vois = cut(array(decoded[0]), array(decoded[1]))
        if arguments.codecs:
            print(json.dumps({"zlib": zlib.ZLIB_RUNTIME_VERSION} | codecs(*vois[0])))
            return
        start = time.perf_counter()
        for image, label in vois:
            deflate.gzip_compress(image, LEVEL)
            deflate.gzip_compress(label, LEVEL)
        encode_s += time.perf_counter() - start
        written += len(vois)
    print(
        json.dumps(
            {
                "vois": written,
                "seconds": round(decode_s + encode_s, 3),
                "decode_s": round(decode_s, 3),
                "encode_s": round(encode_s, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
