"""Folders that nobody has built: cut into a cache, never written into."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from makers.raw_folders import state, write_list, write_nnunet_raw

from uls_data import view_folder
from uls_data.errors import SourceError
from uls_data.manifest.parquet import iterate_rows


def test_a_view_of_nnunet_raw(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "nnUNet_raw/Dataset007_Mine")
    before = state(raw)
    view = view_folder(raw, cache=tmp_path / "cache")
    rows = list(iterate_rows(view.built.manifest))
    assert view.source == "dataset007_mine" and len(rows) == 6 == view.built.ok
    assert state(raw) == before
    assert view.out.is_relative_to(tmp_path / "cache") and view.size_bytes > 0
    # Scans of patients are copied there: nobody else may read them.
    assert stat.S_IMODE(view.out.parent.stat().st_mode) == 0o700
    assert "voxels of value 2 that touch by their faces are a lesion (others, 1" in view.assumed[0]
    again = view_folder(raw, cache=tmp_path / "cache")
    assert again.built.done_before == 3 and again.seen == view.seen


def test_values_and_limit(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw")
    assert view_folder(raw, values=[1], cache=tmp_path / "c").built.ok == 3
    view = view_folder(raw, values=[2, 1, 2], limit=2, cache=tmp_path / "c")
    assert view.built.ok == 2 and "any of the values 1, 2" in view.assumed[0]
    assert not view.built.complete
    with pytest.raises(SourceError, match="--values 0"):
        view_folder(raw, values=[0], cache=tmp_path / "c")


def test_a_changed_folder_is_looked_at_again(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw", cases=2)
    assert view_folder(raw, cache=tmp_path / "c").built.ok == 3
    write_nnunet_raw(raw, cases=3, labels={"background": 0, "tumour": 1, "lesion": 2})
    view = view_folder(raw, cache=tmp_path / "c")
    assert view.built.ok == 3 and "any of the values 1, 2" in view.assumed[0]


def test_what_left_the_folder_is_not_shown(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw")
    assert view_folder(raw, cache=tmp_path / "c").built.ok == 6
    (raw / "labelsTr/mine_003.nii.gz").unlink()
    (raw / "imagesTr/mine_003_0000.nii.gz").unlink()
    view = view_folder(raw, cache=tmp_path / "c")
    assert view.built.ok == 3 == len([*view.out.glob("*/images/*")])


def test_another_version_cuts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_nnunet_raw(tmp_path / "raw", cases=2)
    view_folder(raw, cache=tmp_path / "c")
    monkeypatch.setattr("uls_data.factory.folder_view._MADE_BY", "uls-data 999, step 999")
    view = view_folder(raw, limit=1, cache=tmp_path / "c")
    assert (view.built.done_before, view.built.ok) == (0, 1)


def test_a_second_run_does_not_take_the_folder_from_the_first(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw", cases=2)

    def change_and_look(*_: object) -> None:
        (raw / "dataset.json").write_text('{"labels": {"tumour": 1, "lesion": 2}}')
        with pytest.raises(SourceError, match="another run is at work"):
            view_folder(raw, cache=tmp_path / "c")

    view = view_folder(raw, cache=tmp_path / "c", progress=change_and_look)
    assert view.built.ok == 3 == len([*view.out.glob("*/images/*")])


def test_a_cache_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw", cases=1)
    home = view_folder(raw, cache=tmp_path / "c").out.parent
    home.chmod(0o755)
    view_folder(raw, cache=tmp_path / "c")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_list(tmp_path: Path) -> None:
    items = [{"image": "scans/a.nii.gz", "label": "truth/a_gt.nii.gz"}, {"image": "../b.nii"}]
    path = write_list(tmp_path / "raw", items)
    view = view_folder(path, values=[2], cache=tmp_path / "c")
    assert (view.built.ok, view.built.failed) == (1, 1)


def test_nothing_is_written_into_the_folder(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw")
    before = state(raw)
    with pytest.raises(SourceError, match="name another cache"):
        view_folder(raw, cache=raw / "cache")
    (tmp_path / "link").symlink_to(raw)
    with pytest.raises(SourceError, match="name another cache"):
        view_folder(raw, cache=tmp_path / "link/cache")
    view = view_folder(raw, limit=1, cache=tmp_path / "c")
    for inside in (raw / "x.yaml", tmp_path / "link/x.yaml", raw / "imagesTr/../x"):
        with pytest.raises(SourceError, match="nothing is written there"):
            view.outside(inside)
    assert state(raw) == before


def test_links_out_are_rows_and_huge_headers_too(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw")
    secret = tmp_path / "secret.nii.gz"
    (raw / "imagesTr/mine_001_0000.nii.gz").rename(secret)
    (raw / "imagesTr/mine_001_0000.nii.gz").symlink_to(secret)
    huge = bytearray(352)
    huge[:4] = (348).to_bytes(4, "little")
    for at, number in enumerate((3, 30000, 30000, 30000, 1, 1, 1, 1)):
        huge[40 + 2 * at : 42 + 2 * at] = number.to_bytes(2, "little")
    huge[70:72], huge[72:74], huge[344:348] = b"\4\0", b"\20\0", b"n+1\0"
    (raw / "imagesTr/mine_002_0000.nii.gz").unlink()
    (raw / "imagesTr/mine_002_0000.nii").write_bytes(bytes(huge))
    view = view_folder(raw, cache=tmp_path / "c")
    reasons = {row["case_id"]: row["reason"] for row in iterate_rows(view.built.manifest)}
    assert reasons["mine_001"] == "path_leaves_root" and reasons["mine_003"] is None
    assert reasons["mine_002"] in ("too_large", "truncated_file")


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no file"):
        view_folder(tmp_path / "empty", cache=tmp_path / "c")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/notes.txt").write_text("x")
    with pytest.raises(SourceError, match="no mask, structure set or segmentation"):
        view_folder(tmp_path / "raw", cache=tmp_path / "c")
    with pytest.raises(SourceError):
        view_folder(tmp_path / "absent.json", cache=tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("lits", "folder_lits"),
        ("007", "folder_007"),
        ("Mein Ordner", "mein_ordner"),
        ("ß", "folder"),
    ],
)
def test_names(tmp_path: Path, name: str, source: str) -> None:
    raw = write_nnunet_raw(tmp_path / name, cases=1)
    assert view_folder(raw, cache=tmp_path / "c").source == source
