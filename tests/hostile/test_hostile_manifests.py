"""Hostile manifests: whatever is in the file, ManifestError or what was written."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from makers.hostile.limits import at_most, peak_bytes

import uls_data
from demo.files import write_nifti
from uls_data.errors import ManifestError
from uls_data.recipe import recipe_template

CASES = int(os.environ.get("ULS_DATA_HOSTILE", "100"))
PER_BATCH = 50
MAXIMUM_GROWTH = 1_500_000_000
AFFINE = np.diag([0.8, 0.8, 2.5, 1.0])


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small archive (`raw`), its recipe and its build (`out`)."""
    base = tmp_path_factory.mktemp("built")
    (base / "mine.yaml").write_text(recipe_template("mine"), encoding="utf-8")
    for case in ("a", "b"):
        image = np.random.default_rng(1).integers(-900, 900, (24, 20, 16)).astype("i2")
        mask = np.zeros(image.shape, dtype=np.uint8)
        mask[2:8, 3:9, 2:7] = 1
        write_nifti(base / f"raw/images/{case}.nii.gz", image, AFFINE)
        write_nifti(base / f"raw/masks/{case}.nii.gz", mask, AFFINE)
    (base / "raw/images/c.nii.gz").touch()
    assert uls_data.build(base / "mine.yaml", base / "raw", base / "out").ok == 2
    return base


@pytest.fixture(scope="session")
def whole(built: Path) -> Path:
    return built / "out/manifest/mine.parquet"


def uses(built: Path, out: Path) -> dict[str, Callable[[Path], Any]]:
    """Everything that reads a manifest."""
    return {
        "load_manifest": uls_data.load_manifest,
        "query": lambda path: uls_data.query(path, 'status == "ok" and flagged("oblique")'),
        "stats": lambda path: uls_data.stats(path),
        "replay": lambda path: uls_data.build(
            built / "mine.yaml", built / "raw", out, replay=path, dry_run=True
        ),
    }


def problem_of(use: Callable[[Path], Any], path: Path) -> str | None:
    """What is wrong with how a manifest is refused, or None."""
    try:
        use(path)
    except ManifestError as error:
        text = str(error)
        if "Traceback" in text or not text.strip():
            return f"says {text[:80]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:160]}"
    return None


def damaged(data: bytes, seed: int) -> bytes:
    """Bytes of a manifest with one kind of damage."""
    rng = random.Random(seed)
    changed = bytearray(data)
    footer = int.from_bytes(data[-8:-4], "little")
    turn = seed % 5
    if turn == 0:
        return data[: rng.randrange(len(data))]
    if turn == 1:  # the footer is Thrift, in which every bit counts
        for _ in range(rng.choice((1, 3))):
            changed[-1 - rng.randrange(footer + 8)] ^= 1 << rng.randrange(8)
    elif turn == 2:  # pages
        for _ in range(rng.choice((1, 3))):
            changed[4 + rng.randrange(len(data) - footer - 12)] ^= 1 << rng.randrange(8)
    elif turn == 3:
        start = rng.randrange(len(data))
        changed[start : start + rng.choice((1, 8, 200))] = rng.randbytes(rng.choice((0, 8, 200)))
    else:
        changed = bytearray(rng.randbytes(rng.choice((0, 1, 12, 5000))))
        if rng.random() < 0.5:
            changed = bytearray(b"PAR1" + changed + (4).to_bytes(4, "little") + b"PAR1")
    return bytes(changed)


@pytest.mark.parametrize("batch", range(-(-CASES // PER_BATCH)))
def test_damaged_manifests(tmp_path: Path, built: Path, whole: Path, batch: int) -> None:
    data = whole.read_bytes()
    written = uls_data.load_manifest(whole)
    before = peak_bytes()
    problems = []
    with at_most(60, f"manifests {batch}"):
        for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH):
            path = tmp_path / f"{seed}.parquet"
            path.write_bytes(damaged(data, seed))
            for name, use in uses(built, tmp_path / "out").items():
                if (problem := problem_of(use, path)) is not None:
                    problems.append(f"seed {seed}: {name}: {problem}")
            try:
                frame = uls_data.load_manifest(path)
            except Exception:  # said above
                continue
            if not same(frame, written):
                problems.append(f"seed {seed}: read other values than were written")
    assert not problems, "\n".join(problems)
    assert peak_bytes() - before < MAXIMUM_GROWTH
    assert not (tmp_path / "out").exists()


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    try:
        pd.testing.assert_frame_equal(one, other)
    except AssertionError:
        return False
    return True


def _foreign(name: str, whole: Path, path: Path) -> None:
    table = pq.read_table(whole)
    key = b"uls-data.manifest.version"
    metadata = dict(table.schema.metadata or {})
    (key,) = [k for k in metadata if k != b"ARROW:schema"] or [key]
    if name == "no rows":
        table = table.slice(0, 0)
    elif name == "other schema":
        table = pa.table({"x": [1, 2]})
    elif name == "other schema, our version":
        table = pa.table({"x": [1, 2]}).replace_schema_metadata(metadata)
    elif name.startswith("version "):
        version = name.removeprefix("version ").encode("latin-1")
        table = table.replace_schema_metadata({key: version})
    elif name.startswith("without "):
        table = table.drop_columns([name.removeprefix("without ")])
    elif " as " in name:
        column, kind = name.split(" as ")
        values: Any = {
            "numbers": pa.array([1] * len(table), pa.int64()),
            "floats": pa.array([float("nan")] * len(table)),
            "text": pa.array(["x"] * len(table)),
            "nulls": pa.nulls(len(table)),
            "absent": pa.nulls(len(table), table.schema.field(column).type),
            "lists": pa.array([[1.0]] * len(table)),
            "bytes": pa.array([b"\xff\xfe"] * len(table), pa.binary()),
            "huge": pa.array([1 << 62] * len(table), pa.int64()),
            "paths": pa.array(["../../escaped"] * len(table)),
        }[kind]
        at = table.schema.get_field_index(column)
        table = table.set_column(at, column, values).replace_schema_metadata(metadata)
    elif name == "every column twice":
        names = table.schema.names
        table = pa.Table.from_arrays(table.columns * 2, names=names * 2)
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path)


FOREIGN = (
    "no rows", "other schema", "other schema, our version", "every column twice",
    "version ", "version x", "version -1", "version 2", "version 1e9", "version " + "9" * 5000,
    "version \xff", "version 1.5", "without source", "without status", "without affine",
    "without qc_flags", "without voi_id", "source as numbers", "source as bytes", "status as nulls",
    "case_id as numbers", "case_id as absent", "case_id as bytes", "lesion_index as text",
    "lesion_index as absent", "lesion_index as huge", "lesion_index as floats",
    "sample_index as absent", "voi_id as absent", "voi_id as numbers", "voi_id as paths",
    "affine as lists", "affine as text", "affine as absent", "qc_flags as text",
    "qc_flags as absent", "voi_origin_x_vox as floats", "voi_origin_x_vox as huge",
    "label_voxels_sha256 as numbers", "long_axis_vox as text", "split as numbers",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", FOREIGN, ids=lambda name: name[:40].encode("unicode_escape").decode()
)
def test_foreign_manifests(tmp_path: Path, built: Path, whole: Path, name: str) -> None:
    path = tmp_path / "foreign.parquet"
    _foreign(name, whole, path)
    every = uses(built, tmp_path / "out")
    out = tmp_path / "replayed"
    every["replayed build"] = lambda path: uls_data.build(
        built / "mine.yaml", built / "raw", out, replay=path
    )
    problems = [f"{use}: {problem_of(every[use], path)}" for use in every]
    assert not [problem for problem in problems if not problem.endswith(": None")]
    if out.exists():
        inside = {path.relative_to(out).parts[0] for path in out.rglob("*")}
        assert inside <= {"mine", "manifest", ".uls-data"}
    assert {path.name for path in tmp_path.iterdir()} <= {"foreign.parquet", "replayed"}


@pytest.mark.parametrize("what", ["pipe", "folder", "loop", "nothing", "device", "empty", "text"])
def test_what_is_no_manifest(tmp_path: Path, built: Path, what: str) -> None:
    """Named itself, and found in the folder that was named."""
    (tmp_path / "m/manifest").mkdir(parents=True)
    path = tmp_path / "m/manifest/mine.parquet"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what in ("empty", "text"):
        path.write_text("" if what == "empty" else "case,status\n" * 99, encoding="utf-8")
    else:
        path.symlink_to({"loop": path.name, "nothing": "absent", "device": "/dev/zero"}[what])
    with at_most(20, what):
        for name, use in uses(built, tmp_path / "out").items():
            for place in (path, tmp_path / "m"):
                with pytest.raises(ManifestError):
                    use(place)
                assert name
