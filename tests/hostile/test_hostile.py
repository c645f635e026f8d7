"""`build` on raw folders full of damaged, lying and malicious files.

Every batch is one build of twenty hostile cases with one good case beside them. The
environment variable ULS_DATA_HOSTILE says how many hostile cases there are (100).
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from makers.hostile.cases import make_case
from makers.hostile.check import check_voi
from makers.hostile.limits import at_most, peak_bytes
from makers.hostile.parts import AFFINE, MARK, NIFTI, SECRET, SHAPE, Case

import uls_data
from demo.files import write_itk, write_nifti
from uls_data.factory import BuildReport
from uls_data.outcome import Reason
from uls_data.recipe import recipe_template

CASES = int(os.environ.get("ULS_DATA_HOSTILE", "100"))
PER_BATCH = 20
SECONDS = 60
MAXIMUM_GROWTH = 1_500_000_000
# What is not the template's: changes of the recipe, options of the build.
VARIANTS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({}, {}),
    ({"instances": {"rule": "values"}}, {}),
    ({"quirks": []}, {}),
    (
        {
            "instances": {"rule": "components", "values": [1, 2], "connectivity": 6},
            "minimum_size": {"measure": "mask_voxels", "at_least": 30},
        },
        {"profile": "published"},
    ),
)


def put_good(raw: Path) -> None:
    image = np.random.default_rng(7).integers(-900, 900, SHAPE).astype("i2")
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[4:11, 5:12, 3:9], mask[15:21, 12:18, 9:14] = 1, 2
    write_nifti(raw / "images/good.nii.gz", image, AFFINE)
    write_nifti(raw / "masks/good.nii.gz", mask, AFFINE)


def put_secrets(base: Path) -> None:
    """Volumes outside the root, whole and readable, that no VOI may ever hold."""
    (base / "secret.raw").write_bytes(SECRET)
    voxels = np.frombuffer(SECRET, dtype="i2")[: np.prod(SHAPE)].reshape(SHAPE)
    for ext in NIFTI:
        write_nifti(base / f"secret{ext}", voxels, AFFINE)
    for ext in (".nrrd", ".mha"):
        write_itk(base / f"secret{ext}", voxels, AFFINE)
    (base / "secret.mhd").write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 24 20 16\nElementType = MET_SHORT\n"
        b"BinaryData = True\nElementDataFile = secret.raw\n"
    )


def write_recipe(base: Path, changes: dict[str, Any]) -> Path:
    content = {**yaml.safe_load(recipe_template("mine")), **changes}
    path = base / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def snapshot(base: Path, leave_out: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder but the output, links not followed."""
    found = {}
    for folder, names, files in os.walk(base):
        names[:] = [name for name in names if Path(folder, name) != leave_out]
        for name in (*names, *files):
            path = Path(folder, name)
            status = path.lstat()
            found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


def same(values: Any) -> Any:
    """Rows without what differs by where and when they were made."""
    return [{k: v for k, v in row.items() if not k.endswith("recipe_sha256")} for row in values]


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """Rows of the good case where it is alone, by variant of the recipe."""
    rows = {}
    for number, (changes, options) in enumerate(VARIANTS):
        base = tmp_path_factory.mktemp(f"clean{number}")
        put_good(base / "raw")
        report = uls_data.build(write_recipe(base, changes), base / "raw", base / "out", **options)
        assert report.ok and not report.failed
        rows[number] = report.rows
    return rows


@pytest.fixture(scope="session")
def peak_before(clean: Any) -> int:
    return peak_bytes()


def build_batch(base: Path, seed: int) -> tuple[list[Case], BuildReport]:
    """Write one batch below a folder, and build it."""
    changes, options = VARIANTS[seed % len(VARIANTS)]
    raw = base / "raw"
    put_good(raw)
    put_secrets(base)
    cases = [make_case(seed, number) for number in range(PER_BATCH)]
    for case in cases:
        for part in (case.image, case.mask):
            for text in ("content", "data", "voxels"):
                if (value := getattr(part, text)) is not None:
                    setattr(part, text, value.replace(b"{base}", os.fsencode(base)))
        case.write(raw)
    return cases, uls_data.build(write_recipe(base, changes), raw, base / "out", **options)


def check_failed(row: dict[str, Any], raw: Path) -> None:
    assert row["reason"] in set(Reason) and row["reason"] != Reason.INTERNAL_ERROR, row["detail"]
    assert row["detail"].strip()
    assert "Traceback" not in row["detail"]
    assert str(raw) not in row["detail"], f"names the raw root: {row['detail']!r}"


def check_output(out: Path, rows: list[dict[str, Any]]) -> None:
    """Nothing but the VOIs of `ok` rows lies there, and free text or the secret nowhere."""
    found = set()
    for path in (p for p in out.rglob("*") if p.is_file()):
        if path.name.endswith(".gz"):  # their content is looked at when their rows are
            found.add(path.relative_to(out).as_posix())
        else:
            assert MARK not in path.read_bytes(), f"{path.name} holds the secret"
    kinds = ("image_path", "label_path")
    assert found == {row[kind] for row in rows if row["status"] == "ok" for kind in kinds}
    assert not [row for row in rows if MARK.decode() in repr(row)]


@pytest.mark.parametrize("seed", range(-(-CASES // PER_BATCH)))
def test_batch(
    tmp_path: Path, seed: int, clean: dict[int, list[dict[str, Any]]], peak_before: int
) -> None:
    with at_most(SECONDS, f"batch {seed}"):
        cases, report = build_batch(tmp_path, seed)
        raw, out = tmp_path / "raw", tmp_path / "out"
        before = snapshot(tmp_path, out)
        problems = problems_of(tmp_path, seed, cases, report, clean[seed % len(VARIANTS)])
        changes, options = VARIANTS[seed % len(VARIANTS)]
        again = uls_data.build(write_recipe(tmp_path, changes), raw, out, **options)
        if again.rows != report.rows:
            problems.append("the same command again gives other rows")
        table = uls_data.load_manifest(out)
        if len(table) != len(report.rows):
            problems.append("the manifest has other rows than the report")
        after = snapshot(tmp_path, out)
        recipe = str(tmp_path / "recipe.yaml")
        before.pop(recipe), after.pop(recipe)
        if before != after:
            problems.append(f"written outside OUT: {sorted(set(after) ^ set(before))}")
    growth = peak_bytes() - peak_before
    assert not problems, f"batch {seed}:\n" + "\n".join(problems)
    assert growth < MAXIMUM_GROWTH, f"batch {seed}: memory grew by {growth:,} bytes"


def problems_of(
    base: Path, seed: int, cases: list[Case], report: BuildReport, clean: list[dict[str, Any]]
) -> list[str]:
    """All that is wrong with what a batch gave, each with the case and how it was made."""
    changes, options = VARIANTS[seed % len(VARIANTS)]
    rule = changes.get("instances", {"values": [1]}).get("values")
    scan_padding = options.get("profile") == "published"
    raw, out = base / "raw", base / "out"
    problems = []
    try:
        check_output(out, report.rows)
    except AssertionError as error:
        return [str(error)]
    by_case: dict[str, list[dict[str, Any]]] = {}
    for row in report.rows:
        by_case.setdefault(row["case_id"], []).append(row)
    if same(by_case.pop("good")) != same(clean):
        problems.append("the good case came out otherwise")
    for case in cases:
        rows = by_case.pop(case.case_id(), [])
        try:
            assert rows, "no row"
            for row in rows:
                assert row["status"] in ("ok", "skipped", "failed")
                if row["status"] == "failed":
                    check_failed(row, raw)
                if row["status"] == "ok":
                    assert not case.outside, "wrong success: it lies outside the root"
                    paths = (raw / p.folder / f"{case.name}{p.ext}" for p in case.parts())
                    check_voi(row, *paths, out, rule=rule, padded_by_scan=scan_padding)
        except AssertionError as error:
            what = (str(error) or traceback.format_exc()).strip()
            problems.append(f"{case.name!r} {case.made_of}: {what[-300:]}")
    if by_case:
        problems.append(f"rows of nobody's case: {sorted(by_case)}")
    return problems
