"""What those hear who cannot see the desk, by the accessibility tree of a real browser."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from makers.browser import Page
from makers.editable import SOURCE, voi_id, write_editable
from makers.serving import running

from uls_data.triage import TriageServer, triage_server

CONTROLS = {
    *("button", "checkbox", "combobox", "DisclosureTriangle", "dialog", "image", "link", "listbox"),
    *("progressbar", "radio", "search", "slider", "textbox", "toolbar"),
}
# What should be stops of the Tab key, in the order of the page, and where they are; then those
# that it stops at are noted.
REACHABLE = """
const shown = (one) => one.checkVisibility({ checkVisibilityCSS: true }) && !one.disabled
  && !one.closest("dialog:not([open])") && one.tabIndex >= 0;
const all = [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")];
const stops = all.filter(shown);
window.stopped = [];
document.addEventListener("focusin", ({ target }) => window.stopped.push(stops.indexOf(target)));
const places = stops.map((one) => {
  const { left, top, right, bottom } = one.getBoundingClientRect();
  return [one.getAttribute("tabindex"), left, top, right, bottom];
});
stops[0].focus();
return places;
"""
TAB = "\ue004"


def tree(page: Page) -> list[tuple[str, str]]:
    """Role and name of all that is told."""
    page.browser.execute_cdp_cmd("Accessibility.enable", {})
    told = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [
        (str(one["role"]["value"]), str(one.get("name", {}).get("value", "")).strip())
        for one in told
        if not one.get("ignored")
    ]


def check_names(page: Page) -> list[tuple[str, str]]:
    """Every control has a name, and no two buttons have the same one."""
    found = [one for one in tree(page) if one[0] in CONTROLS]
    assert [role for role, name in found if not name] == []
    buttons = Counter(name for role, name in found if role == "button")
    assert [name for name, count in buttons.items() if count > 1] == []
    keys = page.browser.execute_script(
        "return [...document.querySelectorAll('button[data-key]')].every("
        "(one) => one.getAttribute('aria-keyshortcuts'))"
    )
    assert keys, "keys of buttons are told as keys"
    return found


def check_order(page: Page) -> int:
    """Tab reaches every control once, in the order of the page; returns how many there are."""
    places = page.browser.execute_script(REACHABLE)
    assert {index for index, *_ in places} <= {None, "0"}, "no order of its own"
    page.press(*[TAB] * (len(places) - 1))
    assert page.browser.execute_script("return window.stopped") == [*range(len(places))]
    for (*_, right, bottom), (_, left, upper, *_) in pairwise(places):
        # The next one is below, or to the right: in the same line, or in a column of its own.
        assert upper >= bottom or left >= right, (right, bottom, left, upper)
    return len(places)


@pytest.fixture
def editable(tmp_path: Path) -> Any:
    write_editable(tmp_path / "out")
    with running(triage_server(tmp_path / "out")) as server:
        yield server


def test_the_single_view_is_told(page: Page, layered: Path, tmp_path: Path) -> None:
    with running(triage_server(layered, overlay=tmp_path / "triage.yaml")) as server:
        page.open(server.address)
        page.wait("document.querySelectorAll('#layer-list li').length === 3")
        page.wait("document.querySelector('#views').options[0].text === 'No view saved'")
        found = check_names(page)
        for one in (
            ("button", "Accept"),
            ("button", "Next open"),
            ("button", "Leak"),
            ("textbox", "Filter"),
            ("combobox", "Window"),
            ("image", "Axial 64 of 127 of c1_lesion_01_sample_0"),
            ("DisclosureTriangle", "All columns"),
        ):
            assert one in found, one
        boxes = [name for role, name in found if role == "checkbox"]
        assert [name.split()[0] for name in boxes] == ["annotated", "jury", "ellipsoid"]
        assert check_order(page) > 35
        page.press("o")
        pressed = "document.querySelector('button[data-key=o]').getAttribute('aria-pressed')"
        assert page.wait(pressed) == "false"


def test_the_wall_is_told(page: Page, server: TriageServer) -> None:
    page.open(server.address)
    page.press("g")
    page.wait("document.body.dataset.wall === 'ready'")
    found = check_names(page)
    assert ("listbox", "VOIs") in found and ("slider", "Size") in found
    assert ("button", "Select all") in found
    assert check_order(page) > 20
    options = [name for role, name in tree(page) if role == "option" and name.startswith("c")]
    assert options[0] == "c1_lesion_01_sample_0, annotated, lung, not judged"
    page.browser.execute_script("document.querySelector('#grid').focus()")
    page.press("right", "a")
    page.wait_for("#counts", "1 accepted")
    active = "document.getElementById(document.querySelector('#grid').getAttribute(%r)).ariaLabel"
    assert page.wait(active % "aria-activedescendant").endswith("accepted")


def test_the_editor_is_told(page: Page, editable: TriageServer) -> None:
    page.open(editable.address)
    page.browser.get(f"{editable.address.split('/?')[0]}/edit#{SOURCE}/{voi_id(0)}")
    page.wait("document.body.dataset.ready")
    page.press("g")
    page.wait_for("#steps", "Not saved")
    found = check_names(page)
    for one in (("button", "Paint"), ("slider", "Brush"), ("button", "Save…")):
        assert one in found, one
    assert check_order(page) > 20
    page.press("a")
    page.wait_for("#scope", "This slice")
    assert ("button", "This slice") in check_names(page)
    page.press("s")
    page.wait("document.querySelector('#reasoning').open")
    found = check_names(page)
    assert ("dialog", "Save the edited mask") in found
    assert ("combobox", "What was wrong, in one line") in found
    page.press("escape", "u")


@pytest.mark.parametrize(
    ("key", "name", "control"),
    [
        ("?", "Keys", ("button", "Close")),
        ("n", "Note", ("textbox", "One line; it stays with a later verdict")),
    ],
)
def test_dialogs_are_told_and_give_the_focus_back(
    page: Page, server: TriageServer, key: str, name: str, control: tuple[str, str]
) -> None:
    page.open(server.address)
    page.browser.execute_script("document.querySelector('figure').focus()")
    page.press(key)
    page.wait("document.querySelector('dialog[open]')")
    found = check_names(page)
    assert ("dialog", name) in found and control in found
    inside = "document.querySelector('dialog[open]').contains(document.activeElement)"
    assert page.wait(inside)
    page.press("escape")
    page.wait("!document.querySelector('dialog[open]')")
    assert page.wait("document.activeElement === document.querySelector('figure')")
