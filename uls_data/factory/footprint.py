"""How much memory a case will need, from its headers alone."""

from __future__ import annotations

import math

from uls_data.errors import CaseError
from uls_data.factory.options import Options, Task
from uls_data.volumes.read import decoded_size

# The interpreter with its libraries, two VOIs and their encoded forms.
_ALWAYS_BYTES = 400 << 20
# Beside a mask: which of its voxels are lesion, and the components around them.
_PER_MASK_VOXEL = 3
# A header that cannot be read says nothing; its case mostly fails at once.
_UNKNOWN_BYTES = 1 << 30
# The slowest case of a network disk takes minutes; only what hangs takes longer.
_ALWAYS_S = 3600.0
_PER_BYTE_S = 1e-6


def most_seconds(task: Task, options: Options, chosen_s: float | None) -> float:
    """Seconds that a case may take: those chosen, else an hour and one for each MB it needs."""
    if chosen_s is not None:
        return chosen_s
    return _ALWAYS_S + _PER_BYTE_S * memory_need(task, options)


def memory_need(task: Task, options: Options) -> int:
    """Bytes that the worker of a case will need at most, as far as headers tell.

    Image and mask as decoded, a few bytes per voxel of the mask, and what every
    case needs. Reads some hundred bytes of each file.
    """
    case = task.case
    total = _ALWAYS_BYTES
    if case.slices:
        from uls_data.dicom.series import series_size

        try:
            total += series_size(case.slices, options.raw)[1]
        except (CaseError, OSError):
            total += _UNKNOWN_BYTES
    if case.stack is not None:
        # Decoded slices, and one of them while it is unpacked.
        total += 3 * math.prod(case.stack.shape) if options.needs_scan else 0
    volumes = [case.mask, *(path for *_, path in case.instances)]
    joined = case.stack is None or case.stack.run is not None
    if not case.slices and joined and not options.labels_only:
        volumes.append(case.image)
    for path in volumes:
        if path is None:
            continue
        try:
            voxels, decoded = decoded_size(options.raw / path)
        except (CaseError, OSError):
            total += _UNKNOWN_BYTES
            continue
        total += decoded
        if path != case.image:
            total += _PER_MASK_VOXEL * voxels
    return total
