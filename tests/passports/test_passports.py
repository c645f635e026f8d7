"""Passports: the same bytes for the same training, checked when read, honest on what is seen."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uls_data.auditing.against import audit_against, passport
from uls_data.errors import UlsDataError
from uls_data.io import sha256_bytes, sha256_file, sha256_voxels
from uls_data.manifest.parquet import write_manifest
from uls_data.passports import Passport, PassportError, passport_from, read_passport, seen_by
from uls_data.passports.document import schema, write_passport
from uls_data.passports.seen import KINDS
from uls_data.passports.stages import stage_of
from uls_data.recipe import load_recipe


def sha(word: object) -> str:
    return sha256_bytes(str(word).encode())


def row(case: str, **columns: Any) -> dict[str, Any]:
    found = {"source": "s", "case_id": case, "patient_id": case, "lesion_index": 1}
    found |= {"sample_index": 0, "voi_id": f"{case}_1", "layer": "annotated", "status": "ok"}
    return {**found, **columns}


def hashed(case: str, **columns: Any) -> dict[str, Any]:
    names = ("image_sha256", "image_voxels_sha256", "image_source_sha256")
    return row(case, **{**{name: sha(name + case) for name in names}, **columns})


def manifest(path: Path, *rows: dict[str, Any]) -> Path:
    write_manifest(rows, path)
    return path


def given(tmp_path: Path, *rows: dict[str, Any]) -> Passport:
    made, _ = passport_from(manifest(tmp_path / "given.parquet", *rows), tmp_path / "p.parquet")
    return made


def kinds(found: Any) -> dict[str, list[str]]:
    return {str(row["case_id"]): some for row, some in found.rows(found.judged)}


def test_every_kind_of_match_under_other_names(tmp_path: Path) -> None:
    uid = load_recipe("lidc_idri").recipe.reader.crosswalk[4]
    passport = given(
        tmp_path,
        hashed("a"),
        hashed("b", series_instance_uid="1.2.3"),
        row("c", source="kits21"),
        row(uid.case, source="lidc_idri", patient_id=None, image_sha256=sha("n")),
    )
    assert [stage.kind for stage in passport.stages] == ["given"] and passport.complete
    t = {"source": "t"}
    ours = manifest(
        tmp_path / "ours.parquet",
        hashed("file", image_sha256=sha("image_sha256a"), **t),
        hashed("voxels", image_voxels_sha256=sha("image_voxels_sha256a"), **t),
        hashed("cut", image_source_sha256=sha("image_source_sha256a"), **t),
        hashed("series", series_instance_uid="1.2.3", **t),
        # Who is `voxels` of source t is `a` of source s: another of their scans is seen too.
        hashed("again", patient_id="voxels", **t),
        hashed("kidney", source="kits23", patient_id="c"),
        hashed("chest", series_instance_uid=uid.series_instance_uid, **t),
        hashed("new", **t),
        row("bare", **t),
        row("gone", status="failed", reason="unreadable", detail="x", **t),
    )
    found = seen_by(passport, ours)
    assert kinds(found) == {
        "file": ["same_file", "same_patient"],
        "voxels": ["same_voxels", "same_patient"],
        "cut": ["same_series", "same_patient"],
        "series": ["same_series", "same_patient"],
        "again": ["same_patient"],
        "kidney": ["same_patient"],
        "chest": ["same_series", "same_patient"],
        "new": [],
        "bare": [],
    }
    assert [row["case_id"] for row, _ in found.rows(found.untold)] == ["bare"]
    assert found.judged.sum() == 9 and found.nameless == 1 and not found.heldout.any()
    assert list(found.kinds) == list(KINDS)


def test_the_numbers_of_many_rows_are_those_of_few(tmp_path: Path) -> None:
    rows = [hashed(f"{n:05d}", patient_id=f"p{n // 2}") for n in range(20000)]
    passport = given(tmp_path, *rows[:10001])
    found = seen_by(passport, manifest(tmp_path / "all.parquet", *rows))
    assert {kind: int(some.sum()) for kind, some in found.kinds.items()} == {
        "same_file": 10001,
        "same_voxels": 10001,
        "same_series": 10001,
        "same_patient": 10002,
    }


def test_rows_are_in_the_order_of_their_keys(tmp_path: Path) -> None:
    """By role, then by key, nulls last, whatever the order of the manifests; as Arrow sorts."""
    rows = [
        hashed("b", lesion_index=10),
        hashed("b", lesion_index=9),
        hashed("a", source="z"),
        hashed("a", lesion_index=None, layer=None),
        hashed("é"),
        hashed("Z", image_sha256=None, image_voxels_sha256="G" * 64),
        hashed("X", image_sha256=sha("x").upper(), patient_id=None),
    ]
    roles = {"a": "trained", "b": "heldout", "é": "left_out", "Z": "trained", "X": "trained"}
    files = [manifest(tmp_path / f"{n}.parquet", one) for n, one in enumerate(rows)]
    stage, found = stage_of(
        files,
        lambda table: [roles[c] for c in table["case_id"].to_pylist()],
        kind="given",
        name="n",
    )
    table = pa.concat_tables(found.numbered(3))
    assert table.schema == schema() and set(table["stage"].to_pylist()) == {3}
    names = ("role", "source", "case_id", "lesion_index", "sample_index", "layer")
    assert table.equals(table.sort_by([(name, "ascending") for name in names]))
    cases = table.select(["case_id", "lesion_index"]).to_pylist()
    assert [tuple(case.values()) for case in cases] == [
        *(("b", 9), ("b", 10), ("é", 1), ("X", 1), ("Z", 1), ("a", None), ("a", 1)),
    ]
    assert stage.rows == {"heldout": 2, "left_out": 1, "trained": 4}
    hashes = table["image_sha256"].to_pylist()
    assert hashes[0].hex() == sha("image_sha256b") and hashes[3:5] == [None, None]
    assert table["image_voxels_sha256"][4].as_py() is None


def test_same_bytes_and_another_order(tmp_path: Path) -> None:
    rows = [hashed(name) for name in "abc"]
    one = given(tmp_path, *rows)
    other, _ = passport_from(tmp_path / "given.parquet", tmp_path / "other.parquet")
    assert one.sha256 == other.sha256 == sha256_file(tmp_path / "p.parquet")
    second, _ = passport_from(manifest(tmp_path / "q.parquet", hashed("d")), tmp_path / "r.parquet")
    files = [one.path, second.path]
    united = [
        passport(some, out=tmp_path / f"u{n}.parquet")
        for n, some in enumerate([files, files[::-1]])
    ]
    assert united[0].sha256 == united[1].sha256 and united[0].rows == 4
    # What is in both is told once.
    again = passport([united[0].path, one.path], out=tmp_path / "v.parquet")
    assert again.rows == 4 and len(again.stages) == 2


def test_a_release_and_its_corrections_are_named(tmp_path: Path) -> None:
    record = {"version": "2026.1", "release_sha256": "0" * 64}
    (tmp_path / "release.json").write_text(json.dumps(record))
    fixed = hashed("a", layer="corrected", parent_layer="annotated", detail="drop | it\nkeep | it")
    (stage,) = given(tmp_path, hashed("a"), fixed).stages
    assert stage.files[0].release is not None and stage.files[0].release.version == "2026.1"
    assert stage.corrections == ("drop | it", "keep | it")
    (tmp_path / "release.json").write_text("[")
    (stage,) = given(tmp_path, hashed("a")).stages
    assert stage.files[0].release is None


@pytest.mark.parametrize("kind", ["folder", "list", "ours"])
def test_foreign_models(tmp_path: Path, kind: str) -> None:
    voxels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    folder = tmp_path / "Dataset100_ULS"
    (folder / "imagesTr").mkdir(parents=True)
    image = folder / "imagesTr" / "kidney21_case_00003_lesion_01_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), image)
    bad = folder / "imagesTr" / "other_0000.nii.gz"
    bad.write_bytes(b"no image")
    source: Path = folder
    if kind != "folder":
        source = folder / "list.json"
        entries: list[Any] = [{"image": f"imagesTr/{path.name}"} for path in (image, bad)]
        if kind == "ours":
            entries[1] |= {"source": "kits23", "case_id": "k", "patient": "kits21/k"}
        listed = {"training": entries, "validation": [f"imagesTr/{image.name}"]}
        source.write_text(json.dumps(listed))
    made, unread = passport_from(source, tmp_path / "p.parquet")
    assert [name for name, _ in unread] == [bad.name] and not made.complete
    rows = [one for table in made.tables() for one in table.to_pylist()]
    trained = [one for one in rows if one["role"] == "trained"]
    assert len(trained) == 2 and len(rows) == (2 if kind == "folder" else 3)
    ours = manifest(
        tmp_path / "m.parquet",
        row("x", image_sha256=sha256_file(image), patient_id=None),
        row("y", image_voxels_sha256=sha256_voxels(voxels), patient_id=None),
        row("z", image_source_sha256=sha256_file(image), patient_id=None),
        row("k", source="kits21"),
    )
    found = audit_against(ours, made.path)
    expected = {"x": "same_file", "y": "same_voxels", "z": "same_series"}
    assert {case: some[:1] for case, some in kinds(found).items()} == {
        **{case: [some] for case, some in expected.items()},
        "k": ["same_series"] if kind == "ours" else [],
    }
    # An image was not read: what is not found could be it.
    assert found.untold.sum() == (kind != "ours")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[", "not a readable JSON"),
        (b"3", "no datalist"),
        (b'{"training": [3]}', r"training\[0\]"),
        (b'{"training": [{"image": "a\\u0000"}]}', r"training\[0\]"),
        (b'{"training": [], "validation": 3}', "validation"),
        (b"[]", "names nothing"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "list.json").write_bytes(content)
    with pytest.raises(PassportError, match=words):
        passport_from(tmp_path / "list.json", tmp_path / "p.parquet")
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(PassportError, match="holds no image"):
        passport_from(tmp_path, tmp_path / "p.parquet")


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    """Of files, and in JSON, which can hold half a letter."""
    folder = tmp_path / "caf\udce9"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "imagesTr" / "\udce9_0000.nii.gz").write_bytes(b"")
    (folder / "dataset.json").write_text("{}")
    (folder / "\udce9.json").write_text(r'["a\ud800", {"image": "b", "source": "s\ud800"}]')
    for source in (folder, folder / "\udce9.json"):
        made, unread = passport_from(source, tmp_path / "p.parquet")
        assert read_passport(made.path).stages == made.stages and len(unread) == made.rows


def test_a_passport_by_any_name(tmp_path: Path) -> None:
    ours = manifest(tmp_path / "given.parquet", hashed("a"))
    made, _ = passport_from(ours, tmp_path / "theirs")
    assert audit_against(ours, made.path).seen.all() and passport(made.path) == made


def test_what_is_no_passport_is_said(tmp_path: Path) -> None:
    good = given(tmp_path, hashed("a"))
    with pytest.raises(PassportError, match="carries SHA-256 0000"):
        read_passport(good.path, "0" * 64)
    table = pq.read_table(good.path)
    header = json.loads(table.schema.metadata[b"uls_data.passport"])

    def written(table: pa.Table, said: Any) -> Path:
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        path = tmp_path / "bad.parquet"
        pq.write_table(table.replace_schema_metadata({"uls_data.passport": text}), path)
        return path

    stage = header["stages"][0]
    for changed, said, words in [
        (table.drop_columns(["role"]), header, "not the columns"),
        (table, b"{", "header"),
        (table, {**header, "passport_version": 2}, "newer uls-data"),
        (table, {**header, "more": 1}, "header: more"),
        (table, {**header, "stages": []}, "0 rows, the file has 1"),
        (table, {**header, "stages": [{**stage, "after": [0]}]}, "after a later one"),
        (table, b"x" * (17 << 20), "header of"),
    ]:
        with pytest.raises(PassportError, match=words):
            read_passport(written(changed, said))
    for name, value, words in [
        ("stage", pa.array([5], pa.int16()), "stages that its header lacks"),
        ("role", pa.array(["boss"]), "role 'boss'"),
    ]:
        path = written(table.set_column(table.column_names.index(name), name, value), header)
        with pytest.raises(PassportError, match=words):
            seen_by(read_passport(path), good.path.with_name("given.parquet"))
    for bad in (tmp_path / "given.parquet", tmp_path / "none.parquet"):
        with pytest.raises(PassportError, match=r"not a passport|no such"):
            read_passport(bad)
    whole = good.path.read_bytes()
    random = np.random.default_rng(20261129)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] ^= 1 << random.integers(8)
        (tmp_path / "bad.parquet").write_bytes(damaged[: random.integers(1, len(whole) + 1)])
        with contextlib.suppress(UlsDataError):
            seen_by(read_passport(tmp_path / "bad.parquet"), tmp_path / "given.parquet")


def test_two_tales_of_one_training(tmp_path: Path) -> None:
    good = given(tmp_path, hashed("a"))
    stage = good.stages[0].model_copy(update={"request": "0" * 64})
    write_passport([stage], good.tables(), tmp_path / "one.parquet")
    write_passport(
        [stage.model_copy(update={"rows": {}})],
        [pq.read_table(good.path).slice(1)],
        tmp_path / "two.parquet",
    )
    with pytest.raises(PassportError, match="differs in another"):
        passport([tmp_path / "one.parquet", tmp_path / "two.parquet"], out=tmp_path / "u.parquet")


def test_pandas_is_not_loaded_to_compare(tmp_path: Path) -> None:
    """It takes a third of a second, and forty megabytes."""
    rows = [hashed("a"), hashed("b", image_sha256=None, patient_id=None), row("c")]
    made = given(tmp_path, *rows)
    words = ["audit", str(tmp_path / "given.parquet"), "--against", str(made.path)]
    script = (
        "import sys\nfrom uls_data.cli import main\n"
        f"try:\n    sys.exit(main({words}))\n"
        "finally:\n    print('pandas' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.split()[-1] == "False"
