"""The real tables of LNDb, and which of its marks the released lesion names are.

No mask of LNDb is available, and none may be kept. But every row of the tables has a centre and
a volume, so each mark can be taken for a ball, and the components of these balls, numbered
as the published names are, compared with the 692 names in the challenge's split.
"""

from __future__ import annotations

import ast
import csv
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest

from uls_data.factory.lndb_prep import expected_names
from uls_data.recipe import load_recipe
from uls_data.sources.lndb import table as lndb_tables
from uls_data.sources.lndb.table import Finding, MergedFinding

pytestmark = pytest.mark.real
# A ball's diameter leaves no doubt that the outline passes the minimum of 5 voxels.
CLEARLY_LARGE_VOX = 5.6


@dataclass(frozen=True)
class Tables:
    scans: dict[int, int]
    findings: dict[int, list[Finding]]
    merged: dict[int, list[MergedFinding]]
    pixel_mm: dict[int, float]


@pytest.fixture(scope="module")
def lndb(real_data: Path) -> Path:
    folder = real_data / "lndb"
    if not (folder / "trainset_csv").is_dir():
        pytest.skip(f"no LNDb tables at {folder}")
    return folder


@pytest.fixture(scope="module")
def tables(lndb: Path) -> Tables:
    folder = lndb / "trainset_csv"
    scans = lndb_tables.read_scans(folder / "trainCTs.csv", lndb)
    findings, merged = defaultdict(list), defaultdict(list)
    for finding in lndb_tables.read_findings(folder / "trainNodules.csv", lndb):
        findings[finding.lndb_id].append(finding)
    for joined in lndb_tables.read_merged(folder / "trainNodules_gt.csv", lndb):
        merged[joined.lndb_id].append(joined)
    with (lndb / "LNDbAcqParams.csv").open(newline="") as file:
        pixel_mm = {
            int(row["LNDbID"]): float(ast.literal_eval(row["PixelSpacing"])[0])
            for row in csv.DictReader(file)
        }
    return Tables(scans, findings, merged, pixel_mm)


@pytest.fixture(scope="module")
def names() -> dict[int, set[int]]:
    return {int(scan[-4:]): set(numbers) for scan, numbers in expected_names().items()}


def test_counts_of_the_real_tables(tables: Tables, lndb: Path) -> None:
    findings = [finding for rows in tables.findings.values() for finding in rows]
    merged = [finding for rows in tables.merged.values() for finding in rows]
    assert len(tables.scans) == 236
    assert Counter(tables.scans.values()) == {1: 59, 2: 110, 3: 67}
    assert sum(tables.scans.values()) == 236 + 177 + 67  # masks
    assert len(findings) == 1527
    assert Counter((f.is_nodule, f.is_below_3_mm) for f in findings) == {
        (True, False): 860,
        (True, True): 173,
        (False, True): 494,
    }
    assert len(merged) == 1219
    assert Counter(f.agreement_level for f in merged) == {1: 547, 2: 177, 3: 44, 0: 451}
    folder = lndb / "trainset_csv"
    assert lndb_tables.read_folds(folder / "trainFolds.csv", lndb).keys() == tables.scans.keys()
    classes = lndb_tables.read_fleischner(folder / "trainFleischner.csv", lndb)
    assert classes.keys() == tables.scans.keys()


def test_no_measured_nodule_is_below_a_ball_of_3_mm(tables: Tables) -> None:
    """So the sentinel may stand for a volume that was measured and was smaller."""
    measured = [
        f.volume_mm3
        for rows in tables.findings.values()
        for f in rows
        if f.is_nodule and not f.is_below_3_mm
    ]
    assert min(measured) == pytest.approx(14.680777, abs=1e-6)
    assert sum(volume < 20 for volume in measured) == 38


def test_the_two_tables_agree_in_every_scan(tables: Tables) -> None:
    for number in tables.scans:
        ours, joined = lndb_tables.findings_of(
            number, tables.findings[number], tables.merged[number]
        )
        by_pair = {(f.rad_id, f.finding_id): f for f in ours}
        for finding in joined:
            pairs = list(zip(finding.rad_ids, finding.rad_finding_ids, strict=True))
            mean = sum(by_pair[pair].volume_mm3 for pair in pairs) / len(pairs)
            assert finding.volume_mm3 == pytest.approx(mean, abs=1e-6)
            mean_mm = sum(by_pair[pair].x_mm for pair in pairs) / len(pairs)
            assert finding.x_mm == pytest.approx(mean_mm, abs=1e-6)


def test_shipped_names_are_those_of_the_split(real_data: Path) -> None:
    path = real_data / "uls23-labels" / "train_test_split.json"
    if not path.is_file():
        pytest.skip(f"no split at {path}")
    split = json.loads(path.read_text())
    found = defaultdict(set)
    held_out = set()
    for part, listed in split.items():
        for name in listed:
            if match := re.fullmatch(r"(LNDb_(\d{4}))_lesion_(\d+)", name):
                found[match[1]].add(int(match[3]))
                held_out |= {match[2]} if part == "test" else set()
    assert {scan: set(numbers) for scan, numbers in expected_names().items()} == found
    assert (len(found), sum(map(len, found.values()))) == (208, 692)
    assert held_out == set(load_recipe("lndb").recipe.heldout_patients)


@dataclass(frozen=True)
class Ball:
    """A mark: centre in RAS mm, radius, and whether the table calls it a nodule and measures it."""

    centre_mm: tuple[float, float, float]
    radius_mm: float
    is_nodule: bool
    is_measured: bool


def ball(row: Finding | MergedFinding, pixel_mm: float) -> Ball:
    below = abs(row.volume_mm3 - lndb_tables.SENTINEL_VOLUME_MM3) < 1e-3
    radius_mm = (3 * row.volume_mm3 / (4 * math.pi)) ** (1 / 3)
    if not row.is_nodule:
        radius_mm = pixel_mm / 2  # one voxel
    return Ball((-row.x_mm, -row.y_mm, row.z_mm), radius_mm, row.is_nodule, not below)


def components(balls: list[Ball]) -> list[list[Ball]]:
    """Balls that touch, in the order of their lowest x: C order of the RAS array."""
    group_of = list(range(len(balls)))
    for (i, one), (j, other) in combinations(enumerate(balls), 2):
        if math.dist(one.centre_mm, other.centre_mm) <= one.radius_mm + other.radius_mm:
            group_of = [group_of[i] if group == group_of[j] else group for group in group_of]
    groups = [[b for b, g in zip(balls, group_of, strict=True) if g == n] for n in {*group_of}]
    return sorted(groups, key=lambda group: min(b.centre_mm[0] - b.radius_mm for b in group))


Rule = Callable[[Tables, int], list[Finding] | list[MergedFinding]]
RULES: dict[str, Rule] = {
    "every mark of every reader": lambda t, n: t.findings[n],
    "merged findings, non-nodules too": lambda t, n: t.merged[n],
    "nodules of every reader": lambda t, n: [f for f in t.findings[n] if f.is_nodule],
    "merged nodules": lambda t, n: [f for f in t.merged[n] if f.is_nodule],
    "measured nodules of every reader": lambda t, n: [
        f for f in t.findings[n] if f.is_nodule and not f.is_below_3_mm
    ],
    "every mark of the first reader": lambda t, n: [f for f in t.findings[n] if f.rad_id == 1],
    "merged findings of most readers": lambda t, n: [
        f for f in t.merged[n] if 2 * len(set(f.rad_ids)) > t.scans[n]
    ],
}


def compare(rule: Rule, tables: Tables, names: dict[int, set[int]]) -> tuple[int, int, int, int]:
    """How a rule fits the names.

    Scans that it explains (every clearly large nodule has its name, nothing that no
    reader calls a nodule has one, no number is beyond the last component); scans whose
    count of names it allows; lesions by measured volume alone; those of them with a name.
    """
    explained = allowed = large = named = 0
    for number in tables.scans:
        pixel_mm, released = tables.pixel_mm[number], names.get(number, set())
        found = components([ball(row, pixel_mm) for row in rule(tables, number)])
        fits = max(released, default=0) <= len(found)
        least = most = 0
        for rank, group in enumerate(found, 1):
            long_vox = max((2 * b.radius_mm / pixel_mm for b in group if b.is_measured), default=0)
            clearly = long_vox >= CLEARLY_LARGE_VOX and any(b.is_nodule for b in group)
            nodule = any(b.is_nodule for b in group)
            fits &= rank in released if clearly else nodule or rank not in released
            least, most = least + clearly, most + nodule
            if nodule and long_vox >= 5:
                large, named = large + 1, named + (rank in released)
        explained += fits
        allowed += least <= len(released) <= most
    return explained, allowed, large, named


@pytest.mark.parametrize(
    ("rule", "measured"),
    [
        ("every mark of every reader", (217, 236, 600, 578)),
        ("merged findings, non-nodules too", (207, 236, 600, 561)),
        ("nodules of every reader", (119, 236, 600, 451)),
        ("merged nodules", (120, 236, 600, 451)),
        ("measured nodules of every reader", (101, 190, 600, 443)),
        ("every mark of the first reader", (115, 145, 480, 389)),
        ("merged findings of most readers", (90, 103, 359, 304)),
    ],
)
def test_which_marks_the_names_number(
    rule: str, measured: tuple[int, int, int, int], tables: Tables, names: dict[int, set[int]]
) -> None:
    """The union of all marks of all readers fits best; what is left are neighbours out of order."""
    assert compare(RULES[rule], tables, names) == measured


def test_some_named_lesions_have_no_measured_volume(
    tables: Tables, names: dict[int, set[int]]
) -> None:
    """At most 623 measured nodules for 692 names: nodules below 3 mm have masks, too."""
    measured = nodules = 0
    for number in tables.scans:
        found = components([ball(f, tables.pixel_mm[number]) for f in tables.findings[number]])
        nodules += sum(any(b.is_nodule for b in group) for group in found)
        measured += sum(any(b.is_nodule and b.is_measured for b in group) for group in found)
    assert (measured, nodules) == (623, 766)
    assert measured < sum(map(len, names.values())) < nodules


def test_scans_without_a_name(tables: Tables, names: dict[int, set[int]]) -> None:
    unnamed = [number for number in tables.scans if number not in names]
    without_nodule = [n for n in unnamed if not any(f.is_nodule for f in tables.findings[n])]
    measured = [
        n for n in unnamed if any(f.is_nodule and not f.is_below_3_mm for f in tables.findings[n])
    ]
    assert (len(unnamed), len(without_nodule), measured) == (28, 24, [])
