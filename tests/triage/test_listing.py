"""A list says which masks are judged, in which order, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from uls_data import report
from uls_data.errors import ManifestError
from uls_data.manifest.parquet import iterate_rows, write_manifest
from uls_data.triage.listing import read_list
from uls_data.triage.shown import Lesions


def names(lesions: Lesions) -> list[str]:
    return [lesions.subject(at).voi_id for at in range(len(lesions))]


@pytest.fixture
def vois(out: Path) -> list[str]:
    return names(Lesions(out))


def test_only_the_listed_in_their_order(out: Path, vois: list[str], tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text(
        "rule,voi_id,words\n"
        f"slice_jump,{vois[2]},65% on one slice\nleak,{vois[0]},a lobe\n"
        f"size,{vois[2]},too large\nsize,gone_lesion_01,no longer there\n"
    )
    lesions = Lesions(out, listed=read_list(table))
    assert names(lesions) == [vois[2], vois[0]]
    assert lesions.unknown == ["gone_lesion_01"]
    assert lesions.voi(0).shown()["why"] == ("slice_jump: 65% on one slice", "size: too large")
    assert names(Lesions(out, sort="predicted_dice", listed=read_list(table))) == [vois[2], vois[0]]
    assert names(Lesions(out, sort="-predicted_dice", listed=read_list(table))) == [
        vois[0],
        vois[2],
    ]
    assert names(Lesions(out, "predicted_dice > 0.8", listed=read_list(table))) == [vois[0]]


def test_a_list_may_name_source_and_layer(out: Path, tmp_path: Path) -> None:
    rows = list(iterate_rows(next((out / "manifest").glob("*.parquet"))))
    more = [dict(row, layer="jury") for row in rows[:2]] + [dict(rows[3], source="other")]
    manifest = tmp_path / "manifest" / "m.parquet"
    write_manifest(sorted([*rows, *more], key=lambda row: row["source"]), manifest)
    one, other = rows[0], rows[3]
    table = tmp_path / "list.csv"
    table.write_text(
        "voi_id,layer,source\n"
        f"{other['voi_id']},,other\n{one['voi_id']},jury,{one['source']}\n"
        f"{rows[2]['voi_id']},jury,\n"
    )
    lesions = Lesions(manifest, listed=read_list(table))
    subjects = [lesions.subject(at) for at in range(len(lesions))]
    found = [(s.source, s.voi_id, s.layer) for s in subjects]
    assert found == [
        ("other", other["voi_id"], other["layer"]),
        (one["source"], one["voi_id"], "jury"),
    ]
    assert lesions.unknown == [rows[2]["voi_id"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_id\nc1\n", "voi_id 0 times"),
        ("voi_id\n", "no VOI is listed"),
        ("voi_id,x\n,1\n", "no VOI is listed"),
        ('voi_id\n"open\n', "no CSV"),
        ("voi_id,x\na\n", "expected 2 cells"),
    ],
)
def test_what_is_no_list(tmp_path: Path, text: str, words: str) -> None:
    table = tmp_path / "list.csv"
    table.write_text(text)
    with pytest.raises(ManifestError, match=words):
        read_list(table)


def test_none_of_the_list(out: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("voi_id\nunknown\n")
    with pytest.raises(ManifestError, match="on the list"):
        Lesions(out, listed=read_list(table))
    with pytest.raises(ManifestError, match="found nothing"):
        read_list(tmp_path / "absent.csv")


def test_the_outliers_of_a_report(out: Path, tmp_path: Path) -> None:
    made = report(out, tmp_path / "page.html")
    table = made.files / "outliers.csv"
    listed = read_list(table)
    lesions = Lesions(out, listed=listed)
    assert names(lesions) == [entry.voi_id for entry in listed] and not lesions.unknown
    assert all(lesions.voi(at).why for at in range(len(lesions)))
