"""The page for editing in a real browser: what is painted is what is saved."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.browser import Page
from makers.builds import ball
from makers.editable import AFFINE, SOURCE, comes_back, voi_id, write_editable
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput

from uls_data.errata import load_overlay
from uls_data.errata.mask import read_patch

BALL = ball(6.0) != 0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("editable")
    write_editable(folder)
    return folder


@pytest.fixture
def out(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "out"))


def to_edit(page: Page, address: str, number: int = 0) -> None:
    page.open(address)
    page.browser.get(f"{address.split('/?')[0]}/edit#{SOURCE}/{voi_id(number)}")
    page.wait("document.body.dataset.ready")


def place(page: Page, x: float, y: float, plane: int = 0) -> tuple[int, int]:
    """Where the middle of a voxel of an axial slice is on the screen."""
    found = page.browser.execute_script(
        """const [x, y, p] = arguments, svg = document.querySelectorAll("figure svg")[p];
        const [left, top, width] = svg.getAttribute("viewBox").split(" ").map(Number);
        const edge = svg.getBoundingClientRect(), scale = edge.width / width;
        const at = (value, begin) => ((256 - value) * 0.8 - begin) * scale;
        return [edge.left + at(x, left), edge.top + at(y, top)];
        """,
        *(x, y, plane),
    )
    return round(found[0]), round(found[1])


def drag(page: Page, *voxels: tuple[float, float], button: int = 0) -> None:
    pointer = PointerInput("mouse", "mouse")
    actions = ActionBuilder(page.browser, mouse=pointer, duration=0)
    for at, (x, y) in enumerate(voxels):
        actions.pointer_action.move_to_location(*place(page, x, y))
        if at == 0:
            pointer.create_pointer_down(button=button)
    pointer.create_pointer_up(button=button)
    actions.perform()


def save(page: Page, reason: str) -> None:
    page.browser.execute_script("delete document.body.dataset.saved")
    page.press("s")
    page.wait("document.querySelector('#reasoning').open")
    page.browser.execute_script("document.querySelector('#reason').value = arguments[0]", reason)
    page.press("enter")
    page.wait("document.body.dataset.saved")


def saved_mask(overlay: Path) -> Any:
    return read_patch(overlay, str(load_overlay(overlay).corrections[-1].patch), AFFINE)


def voxels(page: Page) -> int:
    return int(page.text("#now").split()[0])


def test_paint_erase_and_undo_are_saved(page: Page, start: Callable[..., Any], out: Path) -> None:
    to_edit(page, start(out, "--author", "ann").address)
    assert voxels(page) == BALL.sum()
    page.press("[", "[", "[", "b")  # one pixel
    drag(page, (134.5, 128.5), (140.5, 128.5))
    page.wait_for("#now", f"{BALL.sum() + 6} voxels")
    page.press("e")
    drag(page, (128.5, 134.5))
    page.wait_for("#now", f"{BALL.sum() + 5} voxels")
    page.press("b")
    drag(page, (140.5, 128.5), (139.5, 128.5), button=2)  # the right button erases
    page.wait_for("#now", f"{BALL.sum() + 3} voxels")
    page.press("u")
    page.wait_for("#now", f"{BALL.sum() + 5} voxels")
    page.press("y")
    page.wait_for("#now", f"{BALL.sum() + 3} voxels")
    # Another slice.
    page.press("up", "up")
    page.wait_for("figcaption", "66 of 127")
    drag(page, (140.5, 140.5))
    page.wait_for("#now", f"{BALL.sum() + 4} voxels")
    page.press("k")
    drag(page, (128.5, 128.5))
    page.wait_for("#now", f"{BALL.sum() + 3} voxels")
    save(page, "a spike")
    expected = BALL.copy()
    expected[135:139, 128, 64] = True
    expected[128, 134, 64] = False
    overlay = out / "errata" / "edits.yaml"
    assert np.array_equal(saved_mask(overlay), expected)
    assert page.text("#measured tr td:last-child") == str(expected.sum())
    assert page.errors() == []
    comes_back(out, overlay, 0, expected.astype(np.uint8), "ann", "a spike")


def test_whole_mask_operations(page: Page, start: Callable[..., Any], out: Path) -> None:
    to_edit(page, start(out).address)
    inplane = [BALL]
    for shift in (1, -1):
        inplane += [np.roll(BALL, shift, axis=0), np.roll(BALL, shift, axis=1)]
    grown, shrunk = np.any(inplane, axis=0), np.all(inplane, axis=0)
    page.press("g")
    page.wait_for("#now", f"{grown.sum()} voxels")
    page.press("u", "c")
    page.wait_for("#now", f"{shrunk.sum()} voxels")
    page.press("u", "a", "g")  # this slice
    page.wait_for("#now", f"{BALL.sum() + grown[:, :, 64].sum() - BALL[:, :, 64].sum()} voxels")
    page.press("u", "a", "[", "[", "[", "e")
    drag(page, (126.5, 126.5), (127.5, 126.5))
    page.wait_for("#now", f"{BALL.sum() - 2} voxels")
    page.press("h")
    page.wait_for("#now", f"{BALL.sum()} voxels")
    page.press("u", "0")
    page.wait_for("#now", f"{BALL.sum()} voxels")
    page.press("y")
    page.wait_for("#message", "Nothing to redo")
    # What would be refused cannot be sent: the click erased, nothing left.
    page.press("]", "]", "]", "]", "e")
    drag(page, (128.5, 128.5))
    page.wait_for("#problem", "click")
    assert page.wait("document.querySelector('#save').disabled")
    page.press("u")
    page.wait("document.querySelector('#problem').textContent === ''")
    assert page.errors() == []


def test_a_refusal_is_said_and_nothing_is_lost(
    page: Page, start: Callable[..., Any], out: Path
) -> None:
    served = start(out)
    to_edit(page, served.address)
    page.press("[", "[", "[")
    drag(page, (150.5, 128.5))
    page.press("s")
    page.wait("document.querySelector('#reasoning').open")
    page.press("enter")
    page.wait_for("#refused", "Say in a few words")
    page.press(*"spot", "enter")
    page.wait_for("#refused", "2 parts (6-connected)")
    page.press("escape")
    page.wait("!document.querySelector('#reasoning').open")
    page.press("u")
    drag(page, (134.5, 128.5), (136.5, 128.5))
    served.end(signal.SIGKILL)
    page.press("s")
    page.press("enter")
    page.wait_for("#refused", "nothing that was saved is lost")
    assert page.text("#steps").startswith("Not saved")
    assert not (out / "errata" / "edits.yaml").exists()
    page.browser.get_log("browser")
    page.press("escape")
    page.press("u")  # so that leaving asks nothing


def test_triage_leads_there_and_back(page: Page, start: Callable[..., Any], out: Path) -> None:
    page.open(start(out).address)
    page.shows(voi_id(0))
    page.press("e")
    page.wait_for("h1", "Edit")
    page.wait("document.body.dataset.ready")
    page.press("g")
    save(page, "too small")
    page.press("escape")
    page.wait_for("h1", "Triage")
    page.shows(voi_id(0))
    assert page.text("#why") == "The mask was edited, see edits.yaml."
    assert page.errors() == []


def test_an_address_of_no_voi_is_told(page: Page, start: Callable[..., Any], out: Path) -> None:
    address = start(out).address
    page.open(address)
    page.browser.get(f"{address.split('/?')[0]}/edit#{SOURCE}/100%")
    page.wait_for("#problem", "100% is not among the masks shown")


def test_masks_of_the_manifest_that_cannot_be_edited(
    page: Page, start: Callable[..., Any], out: Path
) -> None:
    (out / SOURCE / "labels" / "annotated" / f"{voi_id(0)}.nii.gz").write_bytes(b"")
    page.browser.get("about:blank")
    address = start(out).address
    page.open(address)
    page.browser.get(f"{address.split('/?')[0]}/edit#{SOURCE}/{voi_id(0)}")
    page.wait_for("#problem", "not edited: Mask:")
    assert page.wait("document.querySelector('#save').disabled")
