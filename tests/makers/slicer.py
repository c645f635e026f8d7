"""Segmentations as 3D Slicer writes them: a liver with a cyst, and tumours in a second layer."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

Note = dict[str, Any]
SHAPE = (30, 24, 16)
# RAS, oblique to nothing; the file says LPS.
AFFINE = np.array([[-0.8, 0, 0, 12.0], [0, -0.9, 0, 20.0], [0, 0, 2.0, -30.0], [0, 0, 0, 1]])
SEGMENTS: list[Note] = [
    {"Name": "liver", "Layer": 0, "LabelValue": 1},
    {"Name": "Tumour 1", "Layer": 1, "LabelValue": 1},
    {"Name": "cyst", "Layer": 0, "LabelValue": 2},
    {"Name": "Tumour 2", "Layer": 1, "LabelValue": 3},
    {"Name": "Tumour 3", "Layer": 1, "LabelValue": 7},
]


def layers() -> NDArray[np.uint8]:
    """Shape (layer, x, y, z): a liver with a cyst, and tumours of which one lies in it."""
    found = np.zeros((2, *SHAPE), np.uint8)
    found[0, 2:20, 3:20, 2:14] = 1
    found[0, 15:18, 4:8, 3:6] = 2
    found[1, 4:11, 5:12, 4:9] = 1  # inside the liver: they overlap
    found[1, 22:29, 5:12, 6:11] = 3
    return found


def seg_nrrd(
    array: NDArray[Any],
    notes: list[Note],
    *extra: str,
    affine: NDArray[Any] = AFFINE,
    kind: str = "list",
    end: str = "\n",
) -> bytes:
    """Bytes of a .seg.nrrd as Slicer writes it; `array` has layers first, or none."""
    many = array.ndim == 4
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    vectors = [f"({','.join(f'{v:.17g}' for v in lps[:3, axis])})" for axis in range(3)]
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {'unsigned char' if array.dtype == np.uint8 else 'short'}",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {'none ' * many}{' '.join(vectors)}",
        f"kinds: {f'{kind} ' * many}domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: ({','.join(f'{v:.17g}' for v in lps[:3, 3])})",
        *(
            f"Segment{number}_{key}:={value}"
            for number, note in enumerate(notes)
            for key, value in {"Color": "0.5 0.5 0.5", "ID": f"Segment_{number}", **note}.items()
        ),
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|Closed surface|",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
        *extra,
        "",
    ]
    text = "".join(line + end for line in lines).encode()
    return text + gzip.compress(array.tobytes("F"), mtime=0)
