"""The published archive as manifests: the paper's Table 1, its faults, and its leaks."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import uls_data
from tools.published import published
from uls_data.errors import ManifestError
from uls_data.manifest import write_manifest
from uls_data.manifest.parquet import iterate_rows
from uls_data.recipe import load_recipe
from uls_data.resources import shipped

ULS23 = shipped("manifests", "uls23")
# Paper, Table 1: lesions, then mean and standard deviation of the long and the short axis.
TABLE_1 = {
    "kits21": (332, 63.55, 39.99, 51.30, 32.39),
    "lits": (832, 26.14, 24.41, 17.17, 16.62),
    "nih_ln_abd": (557, 25.79, 11.78, 15.98, 8.08),
    "nih_ln_med": (375, 32.08, 12.75, 19.57, 8.52),
    "lidc_idri": (2236, 13.77, 10.25, 8.23, 6.59),
    "mdsc_lung": (70, 45.40, 27.46, 27.21, 16.87),
    "mdsc_colon": (131, 63.20, 23.78, 37.82, 18.70),
    "mdsc_pancreas": (283, 34.65, 15.63, 24.31, 12.72),
    "radboudumc_bone": (697, 31.17, 21.50, 17.28, 11.51),
    "radboudumc_pancreas": (120, 56.14, 23.98, 37.12, 18.80),
    "deeplesion3d": (743, 17.22, 13.91, 11.69, 10.48),
    "deeplesion": (31849, 35.23, 28.85, 25.25, 22.87),
    "ccc18": (1211, 51.81, 43.29, 38.16, 34.01),
}
EXACT = {
    *("kits21", "mdsc_colon", "mdsc_pancreas", "radboudumc_pancreas", "ccc18", "deeplesion"),
}
OFF_CENTRE = {
    *("kidney21_case_00200_lesion_03_sample_0", "lidcidri_486_lesion_03_sample_0"),
    "lidcidri_52_lesion_03_sample_0",
}


@pytest.fixture(scope="module")
def archive() -> pd.DataFrame:
    return uls_data.load_manifest(ULS23)


def flagged(frame: pd.DataFrame, flag: str) -> pd.DataFrame:
    return frame[[flag in flags for flags in frame["qc_flags"]]]


def counts(frame: pd.DataFrame) -> dict[str, int]:
    return dict(Counter(frame["source"]))


def test_small_and_without_labels() -> None:
    files = sorted(ULS23.glob("*.parquet"))
    assert {path.stem for path in files} == set(TABLE_1)
    assert sum(path.stat().st_size for path in files) < 6_000_000
    for path in files:
        column = pq.read_metadata(path).row_group(0).column(0)
        assert (column.compression, column.has_dictionary_page) == ("ZSTD", True)


def test_table_1() -> None:
    found = {row["source"]: row for row in uls_data.stats(ULS23).to_dict("records")}
    assert found["all"]["lesions"] == 39_436 and found["all"]["failed"] == 0
    for source, (lesions, *numbers) in TABLE_1.items():
        row = found[source]
        names = ("long_mean", "long_std", "short_mean", "short_std")
        assert row["lesions"] == lesions
        for name, printed in zip(names, numbers, strict=True):
            std = name.endswith("std")
            if source not in EXACT:
                assert row[name] == pytest.approx(printed, rel=0.04 if std else 0.02), (
                    source,
                    name,
                )
            elif source == "deeplesion" and std:
                assert abs(round(row[name], 2) - printed) <= 0.0101, name
            else:
                assert round(row[name], 2) == printed, (source, name)


def test_series() -> None:
    """As in Table 1, but for what names do not tell: DeepLesion's volumes, CCC18's series."""
    found = {row["source"]: row for row in uls_data.stats(ULS23).to_dict("records")}
    for source in set(TABLE_1) - {"deeplesion", "ccc18"}:
        assert found[source]["series"] == load_recipe(source).recipe.expect.series, source  # type: ignore[union-attr]


def test_what_is_wrong_with_it(archive: pd.DataFrame) -> None:
    assert set(flagged(archive, "centre_outside_mask")["voi_id"]) == OFF_CENTRE
    assert counts(flagged(archive, "hand_corrected")) == {
        "radboudumc_bone": 9,
        "lits": 5,
        "mdsc_colon": 3,
        "deeplesion3d": 3,
        "lidc_idri": 2,
        "kits21": 2,
        "mdsc_pancreas": 1,
        "radboudumc_pancreas": 1,
    }
    assert counts(flagged(archive, "several_components_6")) == {
        "kits21": 3,
        "lits": 3,
        "nih_ln_abd": 44,
        "nih_ln_med": 18,
        "deeplesion": 11,
    }
    assert counts(flagged(archive, "several_components_26")) == {"kits21": 2, "lits": 3}
    touches = [any(flag.startswith("touches_") for flag in flags) for flags in archive["qc_flags"]]
    assert counts(archive[touches]) == {
        "kits21": 21,
        "lits": 14,
        "radboudumc_bone": 8,
        "mdsc_pancreas": 1,
        "mdsc_colon": 1,
        "ccc18": 29,
        "deeplesion": 193,
    }
    assert archive["long_axis_slice_voi"][archive["layer"] == "grabcut"].eq(64).all()
    assert archive["affine"].map(len).eq(16).all()
    assert archive["label_voxels_sha256"].str.fullmatch("[0-9a-f]{64}").all()


def test_splits(archive: pd.DataFrame) -> None:
    """Ours is the released one but for a patient whom it has on both sides, as scans 57 and 674."""
    full = archive[archive["supervision"] == "full"]
    assert full["source_split"].notna().all()
    other = full[(full["source_split"] == "test") != (full["split"] == "heldout")]
    assert list(other["voi_id"]) == [f"lidcidri_57_lesion_0{n}_sample_0" for n in (1, 2)]
    assert set(other["patient_id"]) == {"LIDC-IDRI-0332"}
    assert counts(full[full["split"] == "heldout"]) == {
        "mdsc_lung": 9,
        "mdsc_pancreas": 27,
        "mdsc_colon": 12,
        "nih_ln_med": 39,
        "nih_ln_abd": 38,
        "lidc_idri": 209,
        "lits": 54,
        "kits21": 33,
        "radboudumc_pancreas": 11,
        "radboudumc_bone": 85,
        "deeplesion3d": 74,
    }


def test_leaks(archive: pd.DataFrame) -> None:
    """Weak rows on held-out key slices, those slices' 3D rows, and all else of the patients."""
    heldout = set(load_recipe("deeplesion3d").recipe.heldout_patients)
    same, patients = (flagged(archive, flag) for flag in ("leak_same_scan", "leak_heldout_patient"))
    weak = archive["source"] == "deeplesion"
    full = archive["source"] == "deeplesion3d"
    theirs = archive["patient_id"].isin(heldout) & (weak | full)
    assert len(heldout) == 49
    assert counts(same) == {"deeplesion": 78, "deeplesion3d": 74}
    twice = archive[archive["patient_id"] == "LIDC-IDRI-0332"]
    assert set(patients.index) == {*archive[theirs].index, *twice.index} > set(same.index)
    assert (archive.loc[patients.index, "split"] == "heldout").all()
    three = set(archive[full & theirs]["case_id"])
    assert three < set(same[same["source"] == "deeplesion"]["case_id"])


def test_audit_finds_them_anew() -> None:
    """But for the four key slices whose 3D label was withdrawn, of which it cannot know."""
    report = uls_data.audit(ULS23)
    assert report.training == []
    flags = Counter(flag for some in report.flags for flag in some)
    assert flags["leak_same_scan"] == 74 * 2


def small_index(folder: Path, **changes: Any) -> Path:
    rows = [
        row
        for source in ("kits21", "deeplesion3d", "radboudumc_pancreas")
        for row in islice(iterate_rows(ULS23 / f"{source}.parquet"), 20)
    ]
    rows[0] |= changes
    write_manifest(rows, folder / "index.parquet")
    return folder / "index.parquet"


def split_file(folder: Path) -> Path:
    lists = {"train": ["kidney21_case_00000_lesion_01"], "test": ["000102_01_01_001_lesion_01"]}
    (folder / "split.json").write_text(json.dumps(lists))
    return folder / "split.json"


def test_made_twice_it_is_the_same(tmp_path: Path) -> None:
    index = small_index(tmp_path, qc_flags=["leak_same_scan"])
    for out in ("a", "b"):
        rows = published(index, split_file(tmp_path), tmp_path / out)
    assert len(rows) == 60
    for name in ("kits21", "deeplesion3d", "radboudumc_pancreas"):
        one, other = ((tmp_path / out / f"{name}.parquet").read_bytes() for out in "ab")
        assert one == other
    kits = uls_data.load_manifest(tmp_path / "a" / "kits21.parquet")
    assert list(kits["source_split"].dropna()) == ["train"]
    assert not len(flagged(kits, "leak_same_scan"))
    assert "hand_corrected" in kits["qc_flags"][0]  # no fourth axis was dropped


def test_what_is_no_index_and_no_split(tmp_path: Path) -> None:
    index = small_index(tmp_path, status="failed", detail="cut short")
    with pytest.raises(ManifestError, match="cut short"):
        published(index, split_file(tmp_path), tmp_path)
    for text in ("[]", "{", '{"train": []}', '{"train": 3, "test": 4}'):
        (tmp_path / "split.json").write_text(text)
        with pytest.raises(ManifestError, match="split"):
            published(small_index(tmp_path), tmp_path / "split.json", tmp_path)


@pytest.mark.real
@pytest.mark.slow
def test_labels_give_their_rows(archive: pd.DataFrame, labels_index: Path) -> None:
    """A sample of the real labels, indexed again."""
    again = uls_data.load_manifest(labels_index)
    folders = ("kits21/", "MDSC_Task06_Lung/", "DeepLesion/")
    again = again[again["label_path"].str.startswith(folders)].set_index("voi_id")
    assert set(again["source"]) == {"kits21", "mdsc_lung", "deeplesion"}
    stated = archive.set_index("voi_id").loc[again.index]
    same = ["label_sha256", "label_voxels_sha256", "mask_voxels", "long_axis_vox", "short_axis_mm"]
    same += ["split", "patient_id", "lesion_index", "source"]
    assert again[same].equals(stated[same])
    assert all(
        np.array_equal(*pair) for pair in zip(again["affine"], stated["affine"], strict=True)
    )


@pytest.mark.real
def test_raw_masks_of_kits_give_the_published_labels(real_data: Path, tmp_path: Path) -> None:
    """KiTS23's masks of two cases are KiTS21's; its third case is not in the archive."""
    manifest = ULS23 / "kits21.parquet"
    report = uls_data.build(
        "kits21", real_data / "kits23", tmp_path, labels_only=True, replay=manifest, workers=0
    )
    stated = {row["voi_id"]: row["label_voxels_sha256"] for row in iterate_rows(manifest)}
    built = {
        row["voi_id"]: row["label_voxels_sha256"] for row in report.rows if row["status"] == "ok"
    }
    assert sorted(built) == [
        "kidney21_case_00041_lesion_01_sample_0",
        "kidney21_case_00041_lesion_02_sample_0",
        "kidney21_case_00061_lesion_01_sample_0",
    ]
    assert {name: stated[name] for name in built} == built
