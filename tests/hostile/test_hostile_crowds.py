"""Hostile tables of Crowds Cure Cancer end in rows or SourceError, soon and without a name.

The environment variable ULS_DATA_HOSTILE_CROWDS says how many tables there are (50).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from makers.hostile.limits import at_most

from demo.crowds import make_ccc18
from demo.dicom import PRIVATE
from uls_data.dicom.series import Series, read_series
from uls_data.errors import CaseError, SourceError
from uls_data.outcome import Reason
from uls_data.profile import PROFILES
from uls_data.recipe import load_recipe
from uls_data.recipe.measurements import Measurements
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.format import Search
from uls_data.sources.measurements.find import find_measured
from uls_data.sources.measurements.lesions import lesions_of
from uls_data.sources.measurements.placing import Grid, slices_of
from uls_data.sources.measurements.requests import Requests
from uls_data.volumes.raw_root import RawRoot

CASES = int(os.environ.get("ULS_DATA_HOSTILE_CROWDS", "50"))
PER_BATCH = 25
SEED = 20181125
SECONDS = 60
MARK = "Zyxwv"  # stands for a name that nothing may show
LONGEST_MESSAGE = 6000
TABLE = "CrowdsCureCancer2018-Results.csv"
ROW_REASONS = {
    *(Reason.NOT_A_RADIOLOGIST, Reason.NOT_MEASURED, Reason.ANNOTATION_UNREADABLE),
    *(Reason.KEY_SLICE_MISSING, Reason.ANNOTATION_MISMATCH, Reason.DEGENERATE_LINES),
    Reason.DUPLICATE,
}
VALUES = (
    *("", " ", "0", "-1", "1.5", "1e3", "9" * 5000, "-0", "+1", "1_0", "0x1", "nan", "inf"),
    *("1e999", "-1e999", "1,2", '"1,2"', "=1+1", f'=HYPERLINK("{MARK}")', MARK, "radiologist"),
    *(f'"{MARK}\nline"', '"\r\n\r\n"', '"', '""', '"""', '"open', "\0", "\ufeff1", "\u0661"),
    *("\u202e1", "1\u00a0", "True", "x" * 131_000, '"' + "x" * 140_000 + '"', "," * 5000, "\r"),
    *("1.2.3", "1" * 65, "1.2." * 200, "-5e4", "511.5", "../../etc/passwd", "radiologist " * 9000),
)


def other_value(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(1, len(lines))
    cells = lines[at].split(",")
    cells[rng.randrange(len(cells))] = rng.choice(VALUES)
    lines[at] = ",".join(cells)


def whole_column(rng: random.Random, lines: list[str]) -> None:
    column, value = rng.randrange(lines[0].count(",") + 1), rng.choice(VALUES)
    for at in range(1, len(lines)):
        cells = lines[at].split(",")
        cells[min(column, len(cells) - 1)] = value
        lines[at] = ",".join(cells)


def header(rng: random.Random, lines: list[str]) -> None:
    cells = lines[0].split(",")
    cells[rng.randrange(len(cells))] = rng.choice(["", "annotator", "SKIP", '"', "x" * 200_000])
    lines[0] = ",".join(cells)


def ragged(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = ",".join(lines[at].split(",")[: rng.randrange(8)])


def swap(rng: random.Random, lines: list[str]) -> None:
    rest = lines[1:]
    rng.shuffle(rest)
    lines[1:] = rest


def many(rng: random.Random, lines: list[str]) -> None:
    lines += [rng.choice(lines[1:])] * rng.choice([10, 1500, 4000])


def no_rows(rng: random.Random, lines: list[str]) -> None:
    del lines[rng.randrange(2) :]


CHANGES: tuple[Callable[[random.Random, list[str]], None], ...] = (
    *(other_value,) * 8,
    *(whole_column, whole_column, swap, swap, many, many, header, ragged, no_rows),
)


def damaged(rng: random.Random, text: str) -> bytes:
    lines = text.splitlines()
    for _ in range(rng.randrange(1, 4)):
        if len(lines) > 1:
            rng.choice(CHANGES)(rng, lines)
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        at = rng.randrange(len(data) + 1)
        cut = data[at:] if rng.random() < 0.5 else data[at + rng.randrange(99) :]
        data = data[:at] + rng.choice([b"", b"\xff", b"\0\0", b"\r", b'"', b"\n" * 500]) + cut
    return data


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, Series]]:
    """A made-up archive, its table with names that must not show, and its series."""
    root = tmp_path_factory.mktemp("ccc18")
    make_ccc18(root, 0)
    text = (root / TABLE).read_text(encoding="utf-8").replace(PRIVATE, MARK)
    series = {
        case.case_id: read_series(case.slices, root) for case in found(root) if case.problem is None
    }
    return root, text, series


def found(root: Path) -> list[CaseFiles]:
    return find_measured(Search(load_recipe("ccc18").recipe, RawRoot(root)), reader())


def reader() -> Measurements:
    shipped = load_recipe("ccc18").recipe.reader
    assert isinstance(shipped, Measurements)
    return shipped


@pytest.mark.parametrize("batch", range(-(-CASES // PER_BATCH)))
def test_hostile_tables(archive: tuple[Path, str, dict[str, Series]], batch: int) -> None:
    root, text, series = archive
    for number in range(batch * PER_BATCH, min(CASES, (batch + 1) * PER_BATCH)):
        data = damaged(random.Random(f"{SEED}/{number}"), text)
        (root / TABLE).write_bytes(data)
        with at_most(SECONDS, f"table {number}"):
            for said in outcome(root, series):
                assert MARK not in said, (number, said)
                assert len(said) <= LONGEST_MESSAGE, (number, len(said))


def outcome(root: Path, series: dict[str, Series]) -> list[str]:
    """Everything that a table brings forth, in words."""
    try:
        cases = found(root)
    except SourceError as error:
        return [str(error)]
    said = []
    for case in cases:
        said += [case.case_id, repr(case.problem)]
        for one in case.measurements:
            said.append(repr(one))
        if case.problem is not None:
            continue
        try:
            one = series[case.case_id]
            grid = Grid(one.volume, slices_of(one.volume, one.sop_instance_uids))
            asked = Requests([], grid, one.sop_instance_uids)
            lesions, marks = lesions_of(case, root, reader(), grid, asked, {}, PROFILES["paper"])
        except CaseError as error:
            assert error.reason == Reason.TOO_MANY_INSTANCES
            said.append(str(error))
            continue
        assert {mark.reason for mark in marks} <= ROW_REASONS
        alone = [lesion for lesion in lesions if not lesion.measured]
        assert {lesion.skipped and lesion.skipped[0] for lesion in alone} <= {Reason.SINGLE_LINE}
        count = sum(len(lesion.measured) for lesion in lesions)
        assert len(marks) + count + len(alone) == len(case.measurements)
        for lesion in lesions:
            assert bool(lesion.measured) == (lesion.skipped is None)
            assert [one.reader for one in lesion.measured] == [*range(1, len(lesion.measured) + 1)]
        said += [repr(mark) for mark in marks]
    return said
