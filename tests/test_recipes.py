"""Every shipped recipe, from its native layout to golden rows of its manifest."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from makers.collection_table import COLLECTIONS, VOLUMES
from makers.shared import Shared
from makers.small_build import read_nifti

import uls_data
from demo.sources import SOURCES, make_archives
from uls_data.recipe import load_recipe, recipe_names
from uls_data.recipe.reader import ArchiveOnly

GOLDEN = Path(__file__).parent / "golden"
# Not the image's hash: made-up HU come from floating point, whose last bit is
# the machine's. Images are compared with their scans below instead.
COLUMNS = [
    *("case_id", "patient_id", "lesion_index", "sample_index", "voi_id", "layer", "status"),
    *("source_lesion_id", "annotator", "agreement_level", "series_instance_uid"),
    *("reason", "split", "lesion_type", "image_source", "label_source", "qc_flags"),
    *("click_x_vox", "click_y_vox", "click_z_vox", "voi_origin_x_vox", "pad_before_z_vox"),
    *("pad_after_x_vox", "mask_voxels", "fraction_outside_voi", "long_axis_slice_voi"),
    *("long_axis_points_vox", "short_axis_points_vox", "label_voxels_sha256"),
    *("source_split", "patient_sex", "patient_age_years", "key_slice_voi", "supervision"),
    *("study_day", "lesion_track_id"),
]
ROUNDED = [
    *("spacing_x_mm", "spacing_z_mm", "volume_mm3", "long_axis_vox", "short_axis_mm", "affine"),
    *("recist_long_vox", "recist_points_vox", "key_slice_short_error_vox"),
]


@pytest.fixture(scope="session")
def archives(shared: Shared) -> dict[str, Path]:
    return {source: shared.raw(source) for source in SOURCES}


def build(source: str, raw: Path, out: Path, **options: object) -> uls_data.BuildReport:
    own = raw / f"{source}.yaml"
    recipe = str(own) if own.is_file() else source
    # The jury's masks depend on floating point; geometry's do on whole pixels alone.
    if source in ("deeplesion", "ccc18"):
        options.setdefault("masks", ["quarter_ellipses", "ellipse"])
    return uls_data.build(recipe, raw, out, **options)  # type: ignore[arg-type]


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def plain(row: dict[str, object]) -> dict[str, object]:
    kept = {column: row.get(column) for column in COLUMNS}
    for column in ROUNDED:
        value = row.get(column)
        kept[column] = None if value is None else np.round(value, 4).tolist()
    return kept


# Archives that bring their own recipe.
OWN = {"own", "own_dicom", "hospital", "hospital_readers"}


def test_every_recipe_that_builds_has_an_archive() -> None:
    recipes = {name: load_recipe(name).recipe for name in recipe_names()}
    builds = {n for n, recipe in recipes.items() if not isinstance(recipe.reader, ArchiveOnly)}
    assert builds == (set(SOURCES) | set(COLLECTIONS) | set(VOLUMES)) - OWN


@pytest.mark.parametrize("source", SOURCES)
def test_golden_rows(
    source: str, archives: dict[str, Path], tmp_path: Path, update_golden: bool
) -> None:
    report = build(source, archives[source], tmp_path)
    rows = [plain(row) for row in report.rows]
    path = GOLDEN / f"{source}.jsonl"
    if update_golden:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    golden = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == len(golden)
    for row, expected in zip(rows, golden, strict=True):
        assert json.loads(json.dumps(row)) == expected
    # The manifest on disk says the same, and every file it names is there and nothing else.
    frame = uls_data.load_manifest(tmp_path)
    assert list(frame["voi_id"].dropna()) == [r["voi_id"] for r in rows if r["voi_id"]]
    named = {*frame["image_path"].dropna(), *frame["label_path"].dropna()}
    on_disk = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / source).rglob("*.gz")}
    assert on_disk == named
    # Held-out patients: the split is by patient.
    split = frame[["patient_id", "split"]].drop_duplicates()
    assert split["patient_id"].is_unique
    # Canonical files: the centre is lesion, the sentinel is the VOI's minimum alone.
    for row in (row for row in report.rows if row["status"] == "ok"):
        image = read_nifti(tmp_path / row["image_path"])
        label = np.asarray(read_nifti(tmp_path / row["label_path"]).dataobj)
        assert image.shape == label.shape == (256, 256, 128)
        assert row["layer"].startswith("reader-") or label[128, 128, 64] == 1
        assert label.dtype == np.uint8 and (label.min(), label.max()) == (0, 1)
        padded = np.asarray(image.dataobj) == row["pad_value_hu"]
        assert padded.any()
        assert not (label & padded).any()
        assert image.header["descrip"].item() == b""


def test_tree_is_the_same_with_workers_and_in_any_order(
    archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "radboudumc_bone"
    one, two, shuffled = (tmp_path / name for name in ("one", "two", "shuffled"))
    build(source, archives[source], one)
    build(source, archives[source], two, workers=2)
    cases = [path.name.split(".")[0] for path in (archives[source] / "imagesTr").glob("[!.]*")]
    random.Random(3).shuffle(cases)
    for case in cases:
        build(source, archives[source], shuffled, only=[case])
    assert tree(one) == tree(two)
    assert tree(one) == tree(shuffled)


def test_archives_are_made_the_same_twice(archives: dict[str, Path], tmp_path: Path) -> None:
    again = make_archives(tmp_path, only=["kits21", "own"])
    for source, folder in again.items():
        assert tree(folder) == tree(archives[source])
        times = {path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}
        assert len(times) == 1


def test_kits_by_instance_files_keeps_touching_tumours_apart(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    recipe = tmp_path / "kits.yaml"
    text = load_recipe("kits21").path.read_text()
    recipe.write_text(
        "\n".join(
            "instances: {rule: files}" if line.startswith("instances:") else line
            for line in text.splitlines()
        )
    )
    joined = build("kits21", archives["kits21"], tmp_path / "a", labels_only=True)
    apart = uls_data.build(recipe, archives["kits21"], tmp_path / "b", labels_only=True)

    def sizes(report: uls_data.BuildReport, layer: str = "annotated") -> list[int]:
        rows = [row for row in report.rows if row["case_id"] == "case_00000"]
        return [row["mask_voxels"] for row in rows if row["layer"] == layer]

    assert len(sizes(joined)) == 2
    assert len(sizes(apart)) == 3
    assert sum(sizes(apart)) == sum(sizes(joined))
    # Each tumour's three annotators have masks of their own.
    assert [len(sizes(apart, f"reader-{n}")) for n in (1, 2, 3)] == [3, 3, 3]
