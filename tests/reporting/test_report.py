"""The page tells what the manifest tells, from pictures that exist or are drawn once."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from makers.spoiled import HOSTILE, change
from makers.vois import write_voi, write_vois

import uls_data
from uls_data.cli import cli
from uls_data.errors import ManifestError, SourceError
from uls_data.manifest.parquet import iterate_rows
from uls_data.nifti_writer import nifti_gz
from uls_data.pictures.thumbnail import thumbnail_path
from uls_data.reporting import making

ROOT = Path(uls_data.__file__).parent.parent


@pytest.fixture
def with_plots() -> None:
    """Draw plots; other tests do without, as they take seconds."""


@pytest.fixture(autouse=True)
def _without_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "with_plots" not in request.fixturenames:
        monkeypatch.setattr(making, "figures", lambda _rows, _numbers: ())


def data_of(page: Path) -> dict[str, Any]:
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8")
    )
    return dict(json.loads(text))


def column(page: Path, name: str) -> list[Any]:
    (found,) = (one for one in data_of(page)["columns"] if one["name"] == name)
    if "numbers" in found:
        return list(found["numbers"])
    return [None if code < 0 else found["texts"][code] for code in found["codes"]]


def test_the_pictures_of_a_build_are_used_as_they_are(built: Path, tmp_path: Path) -> None:
    made = uls_data.report(built, tmp_path / "page.html")
    assert (made.vois, made.pictures, made.made, made.missing) == (4, 4, 0, [])
    assert not (made.files / "thumbnails").exists()
    rows = list(iterate_rows(built / "manifest" / "kits21.parquet"))
    ok = [row for row in rows if row["status"] == "ok"]
    assert (made.rows, made.skipped + made.failed) == (len(rows), len(rows) - len(ok))
    found = data_of(made.page)
    assert found["embedded"] and [p is not None for p in found["pictures"]] == [True] * 4 + [
        False
    ] * (len(rows) - 4)
    assert column(made.page, "voi_id")[:4] == [row["voi_id"] for row in ok]
    voxels = column(made.page, "mask_voxels")
    assert voxels[:4] == [row["mask_voxels"] for row in ok]
    page = made.page.read_text("utf-8")
    assert "truncated_file" in page and "below_minimum_size" in page
    assert "<b>4</b>VOIs" in page and ">332<" in page  # the recipe expects so many lesions
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


@pytest.mark.usefixtures("with_plots")
def test_the_same_manifest_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        uls_data.report(built, tmp_path / name / "page.html")
    trees = [
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        for name in ("a", "b")
    ]
    assert trees[0] == trees[1]


@pytest.mark.usefixtures("with_plots")
def test_every_plot_lies_beside_the_page_with_its_data(built: Path, tmp_path: Path) -> None:
    made = uls_data.report(built, tmp_path)
    assert made.page == tmp_path / "report.html"
    names = {path.stem for path in (made.files / "plots").iterdir()}
    assert {"axes_mm", "spacing", "hu", "scans"} <= names
    for name in names:
        svg = (made.files / "plots" / f"{name}.svg").read_text("utf-8")
        assert ET.fromstring(svg).tag.endswith("svg")
        assert (made.files / "plots" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert len((made.files / "plots" / f"{name}.csv").read_text().splitlines()) > 1
        assert f"report-files/plots/{name}.csv" in made.page.read_text("utf-8")


def test_pictures_that_are_missing_are_drawn_once(own: Path) -> None:
    for path in own.rglob("*.jpg"):
        path.unlink()
    first = uls_data.report(own)
    assert (first.page, first.pictures, first.made) == (own / "report.html", 4, 4)
    again = uls_data.report(own)
    assert (again.pictures, again.made) == (4, 0)
    assert {p.name for p in own.iterdir()} == {
        *(".uls-data", "manifest", "kits21", "report.html", "report-files")
    }


def test_drawn_late_and_drawn_by_the_build_are_the_same(built: Path, own: Path) -> None:
    for path in own.rglob("*.jpg"):
        path.unlink()
    uls_data.report(own)
    late = {path.read_bytes() for path in (own / "report-files" / "thumbnails").iterdir()}
    assert late == {path.read_bytes() for path in built.rglob("thumbnails/*/*.jpg")}


def test_a_picture_of_another_mask_is_not_shown(own: Path) -> None:
    row = next(r for r in iterate_rows(own / "manifest/kits21.parquet") if r["status"] == "ok")
    others = [
        p for p in own.rglob("*.jpg") if p.name != Path(thumbnail_path(row["label_path"])).name
    ]
    (own / thumbnail_path(row["label_path"])).write_bytes(others[0].read_bytes())
    others[1].write_bytes(b"junk")
    assert uls_data.report(own).made == 2


def test_masks_without_images_are_drawn_too(own: Path) -> None:
    for path in own.rglob("*.jpg"):
        path.unlink()
    change(own, image_path=None, pad_value_hu=None)
    made = uls_data.report(own)
    assert (made.pictures, made.missing) == (4, [])
    assert "mask_hu_inside" not in [one["name"] for one in data_of(made.page)["columns"]]


def test_many_rows_keep_their_pictures_beside_the_page(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "MOST_EMBEDDED", 3)
    made = uls_data.report(built, tmp_path / "p.html")
    found = data_of(made.page)
    assert not found["embedded"]
    shown = [picture for picture in found["pictures"] if picture is not None]
    assert len(shown) == 4
    for name in shown:
        assert name.startswith("p-files/thumbnails/")
        assert (tmp_path / name).read_bytes()[:2] == b"\xff\xd8"


def test_too_many_rows_lie_on_pages_of_their_own(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = uls_data.report(built, tmp_path / "whole" / "p.html")
    monkeypatch.setattr(making, "MOST_ROWS", 3)
    monkeypatch.setattr(making, "ROWS_OF_A_PART", 3)
    monkeypatch.setattr(making, "MOST_EMBEDDED", 1)
    made = uls_data.report(built, tmp_path / "parts" / "p.html")
    for name in ("rows", "vois", "skipped", "failed", "missing", "outliers"):
        assert getattr(made, name) == getattr(whole, name)
    for name in ("outliers.csv", "built.csv"):
        assert (made.files / name).read_bytes() == (whole.files / name).read_bytes()
    parts = sorted((made.files / "rows").iterdir())
    assert len(parts) == 3  # of four masks and two other rows
    for name in ("case_id", "status", "mask_voxels", "detail"):
        rows = [value for part in parts for value in column_or_nulls(part, name)]
        assert rows == column(whole.page, name)
    assert 'href="../../p.html"' in parts[0].read_text("utf-8")
    page, found = made.page.read_text("utf-8"), data_of(made.page)
    assert [one["path"] for one in found["parts"]] == [f"p-files/rows/{p.name}" for p in parts]
    assert all(f'href="p-files/rows/{part.name}"' in page for part in parts)
    listed = column(made.page, "voi_id")
    assert {one["voi_id"] for one in made.outliers} <= set(listed)
    pictures = [picture for picture in found["pictures"] if picture is not None]
    assert len(pictures) == made.pictures == len([name for name in listed if name])
    assert all((tmp_path / "parts" / name).is_file() for name in pictures)
    shown = re.findall(r'data-open="(\d+)".*?<b>(.*?)</b>', page, re.DOTALL)
    assert shown and all(listed[int(at)] == name for at, name in shown)


def column_or_nulls(page: Path, name: str) -> list[Any]:
    try:
        return column(page, name)
    except ValueError:  # no row of this page has a value
        return [None] * len(data_of(page)["pictures"])


def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_shown(own: Path) -> None:
    row = next(r for r in iterate_rows(own / "manifest/kits21.parquet") if r["status"] == "ok")
    (own / thumbnail_path(row["label_path"])).unlink()
    (own / row["label_path"]).write_bytes(b"no label")
    result = CliRunner().invoke(cli, ["report", str(own), "--json"], standalone_mode=False)
    assert result.return_value == 1
    last = json.loads(result.stdout.splitlines()[-1])
    assert (last["kind"], last["pictures"], last["missing"]) == ("report", 3, 1)
    assert f"no picture of {row['voi_id']}" in result.stderr


def test_text_of_a_manifest_is_text(own: Path) -> None:
    change(
        own,
        annotator=HOSTILE,
        extra=[
            {
                "source": HOSTILE,
                "case_id": HOSTILE,
                "layer": HOSTILE,
                "voi_id": HOSTILE,
                "status": "failed",
                "reason": "unreadable",
                "detail": HOSTILE,
                "lesion_index": None,
                "sample_index": None,
            }
        ],
    )
    made = uls_data.report(own)
    page = made.page.read_text("utf-8")
    assert "<script>document" not in page
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert HOSTILE in column(made.page, "detail")
    assert "default-src &#39;none&#39;" in page


@pytest.mark.usefixtures("with_plots")
def test_pseudo_masks_have_their_figures(tmp_path: Path) -> None:
    rows = [
        write_voi(
            tmp_path,
            f"c{n}",
            8 + n,
            supervision="weak_2d",
            layer="jury",
            predicted_dice=0.6 + 0.05 * n,
            uncertainty=0.1,
            recist_long_vox=16.0 + 2 * n,
            recist_short_vox=12.0 + n,
            key_slice_long_error_vox=float(n - 2),
            key_slice_short_error_vox=0.5,
            short_axis_mm=12.0 + n,
            candidate_scores=[{"candidate": "ellipse", "measure": "winner", "value": 1.0}],
            patient_sex="FM"[n % 2],
            patient_age_years=50.0 + n,
            manufacturer="Somebody",
            study_year=2010 + n,
        )
        for n in range(6)
    ]
    lines = [120.0, 128.0, 136.0, 128.0, 128.0, 122.0, 128.0, 134.0]
    solid = {"supervision": "pseudo_3d", "key_slice_voi": 64, "recist_points_vox": lines}
    rows[4] |= solid | {"layer": "pseudo3d-r1", "volume_mm3": 2 * np.pi / 6 * (16 * 12) ** 1.5}
    rows[4] |= {f"spacing_{axis}_mm": 1.0 for axis in "xyz"}
    rows[5] |= {"status": "skipped", "reason": "filtered", "detail": "long_axis: key 9; other (x)"}
    write_vois(tmp_path, rows)
    made = uls_data.report(tmp_path)
    names = {path.stem for path in (made.files / "plots").iterdir()}
    assert names == {
        *("axes_mm", "spacing", "hu", "scans", "age", "predicted_dice", "axis_errors"),
        *("dice_and_axis_error", "risk_coverage", "winners", "filtered", "volume_and_ellipsoid"),
    }
    volumes = (made.files / "plots" / "volume_and_ellipsoid.csv").read_text().splitlines()
    assert len(volumes) == 2 and float(volumes[1].split(",")[-1]) == pytest.approx(1)
    clauses = (made.files / "plots" / "filtered.csv").read_text()
    assert "long_axis" in clauses and ",other" in clauses
    risk = (made.files / "plots" / "risk_coverage.csv").read_text().splitlines()
    assert len(risk) == 7 and risk[1].endswith(",0.85,0.7")
    assert made.outliers[0]["voi_id"]


@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_manifest_has_a_page(tmp_path: Path, rows: int) -> None:
    write_vois(
        tmp_path,
        [{"source": "s", "case_id": "c", "lesion_index": None, "sample_index": None, "layer": "x",
          "status": "failed", "reason": "unreadable", "detail": "d"}][:rows],
    )  # fmt: skip
    made = uls_data.report(tmp_path)
    assert (made.rows, made.vois) == (rows, 0)
    assert "No rule finds anything" in made.page.read_text("utf-8")


def test_what_cannot_be_done_is_said(built: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no column 'nonsense'"):
        uls_data.report(built, tmp_path, columns=["nonsense"])
    with pytest.raises(SourceError, match="--top 0"):
        uls_data.report(built, tmp_path, top=0)
    with pytest.raises(ManifestError, match="no such file"):
        uls_data.report(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(SourceError, match="cannot be written"):
        uls_data.report(built, tmp_path / "file" / "page.html")


def test_a_label_of_another_shape_has_no_picture(own: Path) -> None:
    row = next(r for r in iterate_rows(own / "manifest/kits21.parquet") if r["status"] == "ok")
    (own / thumbnail_path(row["label_path"])).unlink()
    small = nifti_gz(np.ones((4, 4, 4), np.uint8), np.eye(4))
    (own / row["label_path"]).write_bytes(small)
    assert uls_data.report(own).missing[0][0] == row["voi_id"]


def test_assets_travel_with_the_package() -> None:
    assets = ROOT / "uls_data" / "reporting" / "assets"
    assert {path.name for path in assets.iterdir()} == {"report.css", "report.html", "report.js"}
    # The only address that it knows is that of a local server.
    own = r"/^http:\/\/(127\.0\.0\.1|localhost):"
    script = (assets / "report.js").read_text("utf-8").replace(own, "")
    assert "innerHTML" not in script and "http" not in script and "eval" not in script
