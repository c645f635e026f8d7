"""Damaged reports, presentation states and structure sets end in statements or CaseError, soon.

Real files with bytes changed, cut and repeated, as a function of a seed. The environment variable
ULS_DATA_HOSTILE_MEASUREMENTS says how many there are (120).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from makers.hostile.limits import at_most

from uls_data.errors import CaseError
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements.contours import read_structures
from uls_data.sources.measurements.graphics import read_graphics
from uls_data.sources.measurements.groups import read_report
from uls_data.sources.measurements.statement import Statement

pytestmark = pytest.mark.real
CASES = int(os.environ.get("ULS_DATA_HOSTILE_MEASUREMENTS", "120"))
SEED = 20261128
SECONDS = 20
READER = Measurements(name="measurements", case="x", objects=("sr",))
# Undefined lengths, an item's start, and a NaN as 32 bits.
WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\0\xe0", b"\0\0\xc0\x7f")
READERS: dict[str, Callable[[Path, Path, Measurements], list[Statement]]] = {
    "sr/dwv/tid1500-0/sr-ruler.dcm": read_report,
    "sr/dwv/tid1500-0/sr-ellipse.dcm": read_report,
    "sr/dcmjs/structured_report.dcm": read_report,
    "sr/highdicom/sr_document_with_multiple_groups.dcm": read_report,
    "sr/pydicom-negative/test-SR.dcm": read_report,
    "aim3-and-sr/0023/0023BaselineA.dcm": read_report,
    "pr/clearcanvas/real01.pr.dcm": read_graphics,
    "rtstruct/pydicom-points/rtstruct.dcm": read_structures,
}
# What the headers of these files call somebody.
NAMES = (b"ROI^CALCULATIONS", b"2375892", b"Foo", b"cornerstone")


def damaged(rng: random.Random, data: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at, kind = rng.randrange(132, len(made)), rng.random()
        if kind < 0.5:
            made[at] = rng.randrange(256)
        elif kind < 0.7:
            made[at : at + 4] = rng.choice(WORDS)
        elif kind < 0.85:
            del made[at : at + rng.randrange(1, 40)]
        else:
            made[at:at] = made[at - rng.randrange(60) : at]
    return bytes(made)


@pytest.mark.parametrize("name", READERS)
def test_damaged_objects(real_data: Path, tmp_path: Path, name: str) -> None:
    data = (real_data / "samples" / name).read_bytes()
    for number in range(CASES // len(READERS)):
        path = tmp_path / "object.dcm"
        path.write_bytes(damaged(random.Random(f"{SEED}/{name}/{number}"), data))
        with at_most(SECONDS, f"{name}, {number}"):
            try:
                said = repr(READERS[name](Path(path.name), tmp_path, READER))
            except CaseError as error:
                said = str(error)
        assert not any(word.decode() in said for word in NAMES), (number, said)
