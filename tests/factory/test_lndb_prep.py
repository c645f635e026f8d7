"""LNDb for one user: the download is checked, built, and compared with the released names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from demo.files import write_itk
from uls_data.cli.lndb_prep import command
from uls_data.errors import SourceError
from uls_data.factory.lndb_prep import (
    Download,
    check_download,
    check_names,
    digest_lines,
    digest_text,
    expected_names,
    prepare_lndb,
)
from uls_data.ids import hash_of
from uls_data.manifest.parquet import iterate_rows

SHAPE = (60, 50, 20)
# Identity direction in LPS, as LNDb's headers say.
AFFINE = np.diag([-0.7, -0.7, 1.0, 1.0])
# Low corner in stored order and edge in voxels; x of the RAS array runs against the stored one.
Cube = tuple[tuple[int, int, int], int]
# reader, finding, cube, nodule?, small?
MARKS: dict[int, list[tuple[int, int, Cube, int, bool]]] = {
    1: [
        (1, 1, ((40, 10, 5), 6), 1, False),
        (2, 3, ((41, 10, 5), 6), 1, False),
        (1, 2, ((10, 30, 8), 5), 1, True),
        (2, 1, ((2, 2, 2), 1), 0, True),
    ],
    2: [],
    3: [(1, 1, ((20, 20, 10), 6), 1, False), (1, 2, ((50, 40, 10), 1), 1, True)],
}
JOINED = {1: [[(1, 1), (2, 3)], [(1, 2)], [(2, 1)]], 2: [], 3: [[(1, 1)], [(1, 2)]]}
READERS = {1: 2, 2: 1, 3: 1}


def centre_mm(cube: Cube) -> tuple[float, float, float]:
    """LPS."""
    (x, y, z), edge = cube
    half = (edge - 1) / 2
    return 0.7 * (x + half), 0.7 * (y + half), z + half


def make(root: Path) -> Path:
    """A small genuine archive: three training scans, one test scan."""
    rng = np.random.default_rng(0)
    nodules = ["LNDbID,RadID,FindingID,x,y,z,Nodule,Volume,Text"]
    merged = ["LNDbID,RadID,RadFindingID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text"]
    for number in (*READERS, 4):
        scan = rng.integers(-900, 200, SHAPE).astype(np.int16)
        write_itk(root / "data0" / f"LNDb-{number:04d}.mhd", scan, AFFINE)
    for number, readers in READERS.items():
        for reader in range(1, readers + 1):
            labels = np.zeros(SHAPE, dtype=np.uint8)
            for marker, finding, ((x, y, z), edge), _, _ in MARKS[number]:
                if marker == reader:
                    labels[x : x + edge, y : y + edge, z : z + edge] = finding
            write_itk(root / "masks" / f"LNDb-{number:04d}_rad{reader}.mhd", labels, AFFINE)
        rows = {}
        for reader, finding, cube, nodule, small in MARKS[number]:
            x, y, z = centre_mm(cube)
            volume = 14.137166941154069 if small else 0.49 * cube[1] ** 3
            rows[reader, finding] = f"{x},{y},{z},", nodule, f"{nodule},{volume},{5 * nodule}"
            nodules.append(f"{number},{reader},{finding},{x},{y},{z},{rows[reader, finding][2]}")
        for finding, pairs in enumerate(JOINED[number], 1):
            centre, _, rest = rows[pairs[0]]
            level = sum(rows[pair][1] for pair in pairs)
            names = [",".join(str(pair[at]) for pair in pairs) for at in (0, 1)]
            merged.append(f'{number},"{names[0]}","{names[1]}",{finding},{centre}{level},{rest}')
    tables = {
        "trainCTs.csv": ["LNDbID,RadN", *(f"{n},{r}" for n, r in READERS.items())],
        "trainNodules.csv": nodules,
        "trainNodules_gt.csv": merged,
        "trainFolds.csv": ["Fold0,Fold1,Fold2", "1,2,3"],
        "trainFleischner.csv": ["LNDbID,Fleischner", "1,1", "2,0", "3,1"],
    }
    (root / "trainset_csv").mkdir()
    for name, lines in tables.items():
        (root / "trainset_csv" / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("lndb"))


@pytest.fixture(scope="module")
def out(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vois")
    prepare_lndb(raw, folder)
    return folder


def manifest(out: Path) -> Path:
    return out / "manifest" / "lndb.parquet"


def test_a_lesion_of_two_readers_is_built(out: Path) -> None:
    rows = list(iterate_rows(manifest(out)))
    ok = {(row["voi_id"], row["layer"]): row for row in rows if row["status"] == "ok"}
    first = "LNDb_0001_lesion_01_sample_0"
    assert set(ok) == {
        (first, "annotated"),
        (first, "reader-1"),
        (first, "reader-2"),
        ("LNDb_0001_lesion_02_sample_0", "annotated"),
        ("LNDb_0001_lesion_02_sample_0", "reader-1"),
        ("LNDb_0003_lesion_02_sample_0", "annotated"),
        ("LNDb_0003_lesion_02_sample_0", "reader-1"),
    }
    union, one = ok[first, "annotated"], ok[first, "reader-1"]
    assert (union["mask_voxels"], one["mask_voxels"]) == (7 * 6 * 6, 6**3)
    assert (union["agreement_level"], union["redistributable"]) == (2, False)
    assert union["label_source"] == "masks"
    skipped = {
        (row["case_id"], row["reason"], row["source_lesion_id"])
        for row in rows
        if row["status"] == "skipped"
    }
    assert skipped >= {
        ("LNDb_0001", "not_a_nodule", "3"),
        ("LNDb_0003", "point_mark", "2"),
    }
    assert not [row for row in rows if row["status"] == "failed"]


def test_names_against_the_released_ones(out: Path) -> None:
    found = check_names(manifest(out), expected_names())
    assert (found.scans, found.lesions) == (208, 692)
    assert (found.same, found.scans_equal) == (3, 1)  # of scan 1 all, of scan 3 one
    assert found.missing[-4:] == tuple(f"LNDb_0003_lesion_{n:02d}" for n in (1, 3, 4, 5))
    assert len(found.scans_absent) == 205
    assert found.extra == ()
    wrong = check_names(manifest(out), {"LNDb_0001": (1,)})
    assert wrong.extra == ("LNDb_0001_lesion_02", "LNDb_0003_lesion_02")


def test_the_whole_in_one_call(raw: Path, tmp_path: Path) -> None:
    seen: list[Download] = []
    digest = tmp_path / "digest.txt"
    prepared = prepare_lndb(raw, tmp_path / "out", digest=digest, found=seen.append)
    (download,) = seen
    assert (download.scans, download.masks, download.complete) == (4, 4, 3)
    assert prepared.report is not None
    assert (prepared.report.ok, prepared.report.failed) == (3, 0)
    assert prepared.table1["lesions"] == 3
    assert prepared.table1["series"] == 2
    lines = digest_lines(prepared.report.manifest)
    assert digest.read_text() == digest_text(lines)
    assert digest.read_text().splitlines()[-1] == f"root {prepared.root_hash}"
    assert prepared.root_hash == hash_of(lines)


def test_digest_says_nothing_of_where_it_was_made(raw: Path, out: Path, tmp_path: Path) -> None:
    text = digest_text(digest_lines(manifest(out)))
    assert str(raw) not in text
    assert str(out) not in text
    head, *lines, root = text.splitlines()
    assert head.startswith("#")
    assert lines == sorted(lines)
    assert [line.split()[0] for line in lines] == [
        "LNDb_0001_lesion_01_sample_0",
        "LNDb_0001_lesion_02_sample_0",
        "LNDb_0003_lesion_02_sample_0",
    ]
    assert all(len(line.split()[1]) == 64 for line in [*lines, root])
    prepare_lndb(raw, tmp_path, workers=0)
    assert digest_text(digest_lines(manifest(tmp_path))) == text  # another run, the same digest


def test_dry_run_touches_nothing(raw: Path, tmp_path: Path) -> None:
    prepared = prepare_lndb(raw, tmp_path / "out", digest=tmp_path / "digest", dry_run=True)
    assert prepared.report is None
    assert list(tmp_path.iterdir()) == []


def test_a_download_with_holes(tmp_path: Path) -> None:
    raw = make(tmp_path / "raw")
    assert check_download(raw).problems == ()
    (raw / "data0" / "LNDb-0001.raw").write_bytes(b"\0" * 10)
    (raw / "masks" / "LNDb-0003_rad1.raw").unlink()
    (raw / "masks" / "LNDb-0001_rad2.mhd").unlink()
    (raw / "trainset_csv" / "trainFolds.csv").unlink()
    (raw / "data1.rar").write_bytes(b"")
    found = check_download(raw)
    assert found.problems[0][0] == "LNDb_0001"
    assert dict(found.cut_short) == {
        "data0/LNDb-0001.mhd": "LNDb-0001.raw has 10 bytes of 120,000",
        "masks/LNDb-0003_rad1.mhd": "its voxel file LNDb-0003_rad1.raw is missing",
    }
    assert found.missing_tables == ("trainFolds.csv",)
    assert found.packed == ("data1.rar",)
    assert (found.complete, found.whole) == (2, False)


def test_nothing_unpacked_yet(tmp_path: Path) -> None:
    (tmp_path / "masks.rar").write_bytes(b"")
    with pytest.raises(SourceError, match=r"unpack masks\.rar"):
        check_download(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        check_download(tmp_path / "absent")


def run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)


def test_command_in_plain_words(raw: Path, tmp_path: Path) -> None:
    digest = tmp_path / "digest.txt"
    result = run("--raw", raw, "--out", tmp_path / "out", "--workers", 0, "--write-digest", digest)
    assert result.exception is None
    assert result.return_value == 0
    for said in (
        "CT scans         4 of 294",
        "https://zenodo.org/records/8309612",
        "3 of 692 are the same",
        "1 of 3 built here",
        "published 11.95 ± 8.57",
        "CC BY-NC-ND",
        "do not pass them on",
    ):
        assert said in result.output
    assert digest.is_file()


def test_command_as_json_and_dry(raw: Path, tmp_path: Path) -> None:
    result = run("--raw", raw, "--out", tmp_path / "out", "--workers", 0, "--json")
    record = json.loads(result.stdout)
    assert record["names_same"] == 3
    assert len(record["root_hash"]) == 64
    assert record["ok"] == 3
    dry = run("--raw", raw, "--out", tmp_path / "dry", "--dry-run", "--json")
    assert json.loads(dry.stdout)["scans"] == 4
    assert not (tmp_path / "dry").exists()


def test_command_says_what_is_broken(tmp_path: Path) -> None:
    raw = make(tmp_path / "raw")
    (raw / "masks" / "LNDb-0001_rad2.mhd").unlink()
    result = run("--raw", raw, "--out", tmp_path / "out")
    assert result.return_value == 1
    assert "LNDb_0001: expected a mask of each reader, 2 by trainCTs.csv; missing" in result.output
    assert "LNDb_0001: mask_missing" in result.output
