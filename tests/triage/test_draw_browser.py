"""From a report to a mask through a real browser: two clicks a line, and nothing is lost."""

from __future__ import annotations

import csv
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.browser import Page
from makers.reported import CENTRE, RADII, SHAPE, build_reported

import uls_data

# Ends of the lesion's axes: stored columns run to the patient's left, rows to the back.
COLUMN, ROW = SHAPE[0] - 1 - CENTRE[0], SHAPE[1] - 1 - CENTRE[1]
LONG = [(COLUMN - RADII[0], ROW), (COLUMN + RADII[0], ROW)]
SHORT = [(COLUMN, ROW - RADII[1]), (COLUMN, ROW + RADII[1])]


@pytest.fixture
def own(clinic: Path, tmp_path: Path) -> Path:
    """A clinic of your own, to draw in and build again."""
    return Path(shutil.copytree(clinic, tmp_path / "own"))


class Slice:
    """The slice on the page, clicked at columns and rows."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.element = page.browser.find_element("css selector", "#slice")

    def share(self, point: tuple[float, float]) -> tuple[float, float]:
        """Place of a pixel's centre: the whole slice, as high as wide, in the figure's middle."""
        side = max(SHAPE[:2])
        x, y = ((it + 0.5 + (side - n) / 2) / side for it, n in zip(point, SHAPE, strict=False))
        return x, y

    def click(self, *points: tuple[float, float]) -> None:
        for point in points:
            self.page.click(self.element, *self.share(point))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        size = self.element.size
        (x1, y1), (x2, y2) = (
            ((x - 0.5) * size["width"], (y - 0.5) * size["height"])
            for x, y in map(self.share, (start, end))
        )
        move = self.page.actions().move_to_element_with_offset(self.element, round(x1), round(y1))
        move.click_and_hold().move_by_offset(round(x2 - x1), round(y2 - y1)).release().perform()


def drawn(own: Path) -> list[dict[str, str]]:
    with (own / "raw" / "drawn-lines.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_row_of_a_report_becomes_a_mask_in_the_browser(
    page: Page, own: Path, draw: Callable[..., Any]
) -> None:
    (waiting,) = [row for row in build_reported(own).rows if row["reason"] == "awaiting_lines"]
    served = draw(own)
    page.open(served.address)
    assert "token" not in page.browser.current_url
    assert page.text("#asked") == "The report says: 20 × 14 mm, liver"
    page.wait_for("#slice figcaption", "Slice 3 of 7 · key slice")
    it = Slice(page)
    it.click(LONG[0], LONG[1], SHORT[0])
    # A line that is begun is taken back point by point; nothing was saved of it.
    page.press("u")
    page.wait_for("#next", "Now one end of the short axis")
    it.click(*SHORT)
    page.wait_for("#state", "drawn")
    assert page.text("#warnings") == ""
    long_mm, short_mm = (page.text(f"#{axis} td:nth-child(3)") for axis in ("long", "short"))
    # A pixel of the screen is a tenth of one of the slice.
    assert float(long_mm.split()[0]) == pytest.approx(20, abs=0.3)
    assert float(short_mm.split()[0]) == pytest.approx(14, abs=0.3)
    assert page.errors() == []

    served.end(signal.SIGKILL)
    (row,) = drawn(own)
    assert row["lesion"] == waiting["source_lesion_id"] and row["reader"] == "anna"
    assert row["sop_instance_uid"] == waiting["key_slice_uid"]

    rows = build_reported(own).rows
    (made,) = [row for row in rows if row["status"] == "ok"]
    assert made["source_lesion_id"] == waiting["source_lesion_id"]
    assert made["lesion_index"] == waiting["lesion_index"]
    assert (made["stated_long_mm"], made["lesion_type"]) == (20.0, "liver")
    assert "stated_length_differs" not in made["qc_flags"]
    voi = uls_data.open_voi(made, own / "out" / "manifest" / "reported.parquet")
    x, y, z = np.nonzero(voi.mask)
    assert set(z) == {made["key_slice_voi"]}
    # The mask lies on the lesion of the image.
    assert np.median(voi.image[x, y, z]) == pytest.approx(90, abs=5)
    origin = [made[f"voi_origin_{axis}_vox"] or 0 for axis in "xyz"]  # type: ignore[literal-required]
    centre = np.array([x.mean(), y.mean(), z.mean()]) + origin
    assert np.abs(centre - CENTRE).max() < 0.5

    # Another reader is asked for the same lesion, and sees no line of the first.
    page.open(draw(own, author="ben").address)
    assert page.text("#state") == "to draw" and page.text("#counts").startswith("0 of 1")
    page.press("x")
    page.wait("document.querySelector('#skipping').open")
    page.press("1")
    page.wait_for("#state", "skipped: not found")
    assert [(row["reader"], row["skip_reason"]) for row in drawn(own)] == [
        ("anna", ""),
        ("ben", "not_found"),
    ]
    assert page.errors() == []


def test_lines_on_another_slice_are_mended_cleared_and_undone(
    page: Page, own: Path, draw: Callable[..., Any]
) -> None:
    page.open(draw(own).address)
    it = Slice(page)
    page.wheel(it.element, -120)
    page.wait_for("#slice figcaption", "Slice 4 of 7")
    page.press("up")
    page.wait_for("#slice figcaption", "Slice 5 of 7")
    page.press("w")
    page.wait("document.querySelector('#slice image').href.baseVal.endsWith('/0/5/bone')")
    it.click(LONG[0])
    page.press("down")
    page.wait_for("#next", "The lines are on slice 5")
    it.click(LONG[1])
    page.wait_for("#message", "Continue on slice 5")
    page.press("up")
    page.wait_for("#slice figcaption", "Slice 5")
    far = (LONG[1][0] + 12, LONG[1][1])
    it.click(far, *SHORT)
    page.wait_for("#state", "drawn")
    assert page.text("#warnings") == "The long axis differs much from the report."
    assert page.wait("document.querySelector('#long').className === 'much'")
    it.drag(far, LONG[1])
    page.wait("document.querySelector('#warnings').textContent === ''")
    page.wait_for("#message", "Lines saved")
    page.press("home")
    page.wait_for("#next", "The lines are on slice 5")
    page.press("c")
    page.wait_for("#state", "to draw")
    page.press("u")
    page.wait_for("#state", "drawn")
    (row,) = drawn(own)
    assert float(row["long_axis_mm"]) == pytest.approx(20, abs=0.3)
    # Zoomed in about the middle, the same place is elsewhere on the screen.
    page.press("c")
    page.wait_for("#state", "to draw")
    page.press("+", "+")
    page.press("?")
    page.wait("document.querySelector('#helping').open")
    assert page.text("#reader") == "anna"
    page.press("escape")
    assert page.errors() == []


def test_text_of_a_manifest_is_text(page: Page, own: Path, draw: Callable[..., Any]) -> None:
    from uls_data.manifest.parquet import iterate_rows, write_manifest

    hostile = "<img src=x onerror=alert(1)>"
    manifest = own / "out" / "manifest" / "reported.parquet"
    rows = [row for row in iterate_rows(manifest) if row["key_slice_uid"]]
    write_manifest([row | {"case_id": hostile, "image_source": hostile} for row in rows], manifest)
    page.open(draw(own).address)
    page.wait_for("#name", hostile)
    page.wait_for("#problem", hostile)
    assert page.wait("document.querySelectorAll('main img').length === 0")
    assert page.errors() == []
