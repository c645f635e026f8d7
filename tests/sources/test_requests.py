"""Rows of reports find their slices, or say why not, and wait for lines."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from makers.reported import build_reported, write_clinic

from uls_data.errors import SourceError
from uls_data.lesions.drawn_lines import COLUMNS, ENDS
from uls_data.manifest.row import Row

# Lines as a reader draws them across the lesion of the clinic, in stored columns and rows.
DRAWN = dict(zip(ENDS, (39, 23, 59, 23, 49, 16, 49, 30), strict=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]], list[Row]]:
    root = tmp_path_factory.mktemp("clinic")
    uids = write_clinic(root)
    return root, uids, build_reported(root).rows


def mined(root: Path) -> list[dict[str, str]]:
    with (root / "raw" / "lesions.csv").open() as file:
        return list(csv.DictReader(file))


def draw(root: Path, *lines: dict[str, Any], name: str = "drawn-lines.csv") -> None:
    with (root / "raw" / name).open("w") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)


def test_a_row_finds_its_slice_or_says_why_not(
    made: tuple[Path, dict[str, list[str]], list[Row]],
) -> None:
    root, uids, rows = made
    (waiting,) = [row for row in rows if row["reason"] == "awaiting_lines"]
    liver = next(row for row in mined(root) if row["long_axis_mm"] == "20.0")
    # Image 5 of 8, numbered from the head.
    assert waiting["key_slice_uid"] == uids["p01/4"][3]
    assert waiting["source_lesion_id"] == liver["lesion"]
    assert (waiting["case_id"] or "").startswith("p01_") and waiting["lesion_type"] == "liver"
    assert (waiting["stated_long_mm"], waiting["stated_short_mm"]) == (20.0, 14.0)
    assert "20 x 14 mm on image 5" in (waiting["detail"] or "")
    said = {row["reason"]: row["detail"] or "" for row in rows if row["status"] == "failed"}
    assert "have the image number 52; it has 1 to 8" in said["key_slice_missing"]
    assert "(case p02, series 4) fits 2 series of 2 studies" in said["ambiguous_files"]
    absent = sorted(row["detail"] or "" for row in rows if row["reason"] == "image_missing")
    assert "(case p02, series 7): the case has 2 CT series, with the numbers 4" in absent[0]
    assert "(series 2): no folder of a CT series has the name of its case" in absent[1]
    skipped = " ".join(row["detail"] or "" for row in rows if row["reason"] == "not_measured")
    assert "no lesion of now: negated" in skipped and "1 rows of lesions.csv belong" in skipped
    assert "Jane" not in repr(rows)


def test_every_row_of_the_table_is_told(
    made: tuple[Path, dict[str, list[str]], list[Row]],
) -> None:
    """A row each for what readers could be asked for; what `mine` took for no lesion may share."""
    root, _, rows = made
    asked = {one["lesion"] for one in mined(root) if one["status"] == "ok" and one["image_number"]}
    told = {
        name for row in rows for name in ((row["source_lesion_id"] or ""), row["case_id"] or "")
    }
    assert {name for name in asked if not any(name in one for one in told)} == set()


def test_lines_that_readers_draw_become_masks(
    made: tuple[Path, dict[str, list[str]], list[Row]],
) -> None:
    root, uids, before = made
    (waiting,) = [row for row in before if row["reason"] == "awaiting_lines"]
    own = {
        "lesion": waiting["source_lesion_id"],
        "series_instance_uid": waiting["series_instance_uid"],
        "sop_instance_uid": uids["p01/4"][4],
    }
    longer = {**DRAWN, "long_x2": 71.0}
    draw(
        root,
        {**own, **DRAWN, "reader": "anna"},
        {**own, **longer, "reader": "Jane Roe"},
        {**own, "reader": "ben", "skip": "true", "skip_reason": "not_found"},
    )
    report = build_reported(root)
    made_rows = [row for row in report.rows if row["status"] == "ok"]
    assert [row["layer"] for row in made_rows] == ["ellipse", "reader-1", "reader-2"]
    first = made_rows[0]
    assert first["lesion_index"] == waiting["lesion_index"]
    assert first["source_lesion_id"] == waiting["source_lesion_id"]
    assert first["key_slice_uid"] == uids["p01/4"][3], "which others are asked about still"
    assert first["recist_long_vox"] in (20.0, 32.0) and first["stated_long_mm"] == 20.0
    # A third longer than the report says: flagged; rounding to a centimetre would not be.
    assert "stated_length_differs" in first["qc_flags"]
    assert not [row for row in report.rows if row["reason"] == "awaiting_lines"]
    skipped = [row for row in report.rows if (row["detail"] or "").endswith("it: not_found")]
    assert [row["reason"] for row in skipped] == ["not_measured"]
    assert "Roe" not in repr(report.rows) and "anna" not in repr(report.rows)

    draw(root, {**own, "reader": "ben", "skip": "true", "skip_reason": "not_found"})
    (row,) = [row for row in build_reported(root).rows if row["key_slice_uid"]]
    assert row["reason"] == "not_measured" and row["stated_long_mm"] == 20.0
    assert (row["detail"] or "").endswith("20 x 14 mm: readers drew no lines: 1 not_found")
    (root / "raw" / "drawn-lines.csv").unlink()


def test_lines_for_a_row_that_is_gone_stand_on_their_own(
    made: tuple[Path, dict[str, list[str]], list[Row]],
) -> None:
    root, uids, before = made
    (waiting,) = [row for row in before if row["reason"] == "awaiting_lines"]
    draw(
        root,
        {
            **DRAWN,
            "lesion": "m0123456789a",
            "reader": "anna",
            "series_instance_uid": waiting["series_instance_uid"],
            "sop_instance_uid": uids["p01/4"][3],
            "long_axis_mm": "20",
            "short_axis_mm": "14",
        },
    )
    rows = build_reported(root).rows
    (row,) = [row for row in rows if row["status"] == "ok"]
    assert row["source_lesion_id"] == "m0123456789a" and row["key_slice_uid"] is None
    assert [row["reason"] for row in rows].count("awaiting_lines") == 1
    (root / "raw" / "drawn-lines.csv").unlink()


def test_a_report_whose_name_tells_no_case_is_nobodys(tmp_path: Path) -> None:
    """A series number alone must not lead to another patient's scan."""
    write_clinic(tmp_path)
    with pytest.raises(SourceError, match="no part of its report's name fits"):
        build_reported(tmp_path, case="patient[0-9]+")


def test_names_of_folders_tell_studies_apart(tmp_path: Path) -> None:
    """The report p02/2025.txt belongs to the scan below p02/2025; 2024 has the same series."""
    uids = write_clinic(tmp_path)
    table = tmp_path / "raw" / "lesions.csv"
    table.write_text(table.read_text().replace("p02.txt", "p02/2025.txt"))
    rows = build_reported(tmp_path).rows
    found = [row["key_slice_uid"] for row in rows if row["reason"] == "awaiting_lines"]
    assert found == [uids["p01/4"][3], uids["p02/4 later"][5]]
    assert "ambiguous_files" not in [row["reason"] for row in rows]
