"""Sections of a report that not every build has: duplicates, certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from makers.certified import write_pseudo
from makers.vois import write_voi, write_vois

import uls_data
from uls_data.errors import ManifestError
from uls_data.reporting.duplicates import duplicates

WEAK: dict[str, Any] = {"risk": 0.3, "confidence": 0.8, "least_patients": 5}


def row(case: str, **changes: Any) -> Any:
    return {
        "source": "s", "case_id": case, "voi_id": f"{case}_lesion_01", "status": "ok",
        "image_source": f"{case}.nii", "image_source_sha256": case * 3,
        "label_source": f"{case}_m.nii", "label_source_sha256": case * 4,
        "mask_voxels": 9, "qc_flags": [], **changes,
    }  # fmt: skip


def test_a_scan_and_a_mask_under_two_names() -> None:
    rows = [row("a"), row("b", image_source_sha256="aaa"), row("c", label_source_sha256="aaaa")]
    found = duplicates([*rows, row("a", voi_id="a_lesion_02")])
    assert [(it["what"], it["names"]) for it in found] == [
        ("one mask file in several cases", ["a", "c"]),
        ("one scan under several cases", ["a", "b"]),
    ]


def test_one_file_of_many_cases_is_no_copy() -> None:
    """DeepLesion's cases are key slices of one series, and one table tells all lesions."""
    same = {"image_source": "x", "image_source_sha256": "y", "label_source": "t.csv",
            "label_source_sha256": "t"}  # fmt: skip
    assert duplicates([row("a", **same), row("b", **same)]) == []
    assert duplicates([row("a"), row("b", status="failed", image_source_sha256="aaa")]) == []
    none = {"image_source_sha256": None, "label_source_sha256": None}
    assert duplicates([row("a", **none), row("b", **none)]) == []


def test_equal_masks_of_one_scan() -> None:
    twice = {"qc_flags": ["duplicate_mask"]}
    rows = [row("a", **twice), row("a", voi_id="a_lesion_02", **twice), row("b", **twice)]
    (found,) = duplicates(rows)
    assert found["what"] == "equal masks in one scan" and found["column"] == "voi_id"
    assert found["names"] == ["a_lesion_01", "a_lesion_02"]


def test_large_groups_are_cut() -> None:
    rows = [row(f"c{n:02}", image_source_sha256="s") for n in range(20)]
    (found,) = duplicates(rows)
    assert found["count"] == 20 and len(found["names"]) == 12


def test_the_page_lists_them(tmp_path: Path) -> None:
    rows = [
        write_voi(tmp_path, case, image_source=f"{case}.nii", image_source_sha256="5" * 64)
        for case in ("c1", "c2")
    ]
    write_vois(tmp_path, rows)
    page = uls_data.report(tmp_path).page.read_text()
    assert 'id="duplicates"' in page and "one scan under several cases" in page
    assert "c1, c2" in page and "one of" in page


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Marked manifest of twelve lesions, and its certificate."""
    known = write_pseudo(tmp_path_factory.mktemp("known"), range(30))
    new = write_pseudo(tmp_path_factory.mktemp("new"), range(100, 112), truth=False)
    certificate = tmp_path_factory.mktemp("cert") / "cert.json"
    marked = new.with_name("marked.parquet")
    uls_data.certify(new, known, certificate, members=("ellipsoid",), manifest_out=marked, **WEAK)
    return marked, certificate


def test_a_certificate_is_shown_as_promised_and_as_found(
    certified: tuple[Path, Path], tmp_path: Path
) -> None:
    marked, certificate = certified
    made = uls_data.report(marked, tmp_path / "r.html", certificates=[certificate])
    page = made.page.read_text()
    assert "at most 0.3 have a Dice under 0.7" in page
    assert "risk found" in page and "promised of all" in page and "30.0%" in page
    figures = list(made.files.glob("plots/risk_coverage_*.csv"))
    assert len(figures) == 1 and "risk_at_most" in figures[0].read_text()
    # Without its file the rows still tell how many it kept.
    page = uls_data.report(marked, tmp_path / "s.html").page.read_text()
    assert "Its file was not given" in page and "risk found" not in page and "coverage" in page


def test_a_certificate_that_no_row_names_or_that_is_none(
    certified: tuple[Path, Path], tmp_path: Path
) -> None:
    marked, certificate = certified
    plain = marked.with_name("own.parquet")
    page = uls_data.report(plain, tmp_path / "r.html", certificates=[certificate]).page.read_text()
    assert "No row of this build names it" in page
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ManifestError, match="not a certificate"):
        uls_data.report(plain, tmp_path / "q.html", certificates=[tmp_path / "x.json"])
