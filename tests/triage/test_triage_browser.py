"""The page in a real browser: keys reach the overlay, every slice loads, nothing complains."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from makers.browser import Page
from makers.serving import running
from makers.vois import ball, write_voi, write_vois

from uls_data.errata import Kind, load_overlay
from uls_data.ids import voi_fragment
from uls_data.io import sha256_voxels
from uls_data.pictures.thumbnail import thumbnail_path
from uls_data.triage import TriageServer, triage_server

HOSTILE = "<img src=x onerror=alert(1)>"


def test_keyboard_verdicts_reach_the_overlay_and_survive_kill_9(
    page: Page, serve: Callable[..., Any], tmp_path: Path
) -> None:
    overlay = tmp_path / "triage.yaml"
    served = serve(overlay)
    page.open(served.address)
    assert "token" not in page.browser.current_url
    page.shows("c1_")
    page.press("a")
    page.shows("c2_")
    page.press("n")
    page.press(*"leaks", "enter")
    page.wait_for("#verdict", "noted")
    page.press("l")
    page.shows("c3_")
    page.press("r")
    page.shows("c4_")
    page.press("u")
    page.shows("c3_")
    page.wait_for("#verdict", "not judged")
    assert page.text("#counts") == "2 of 4 judged · 1 accepted · 1 rejected · 0 noted"
    found = [(c.voi_id[:2], c.kind, c.reason) for c in load_overlay(overlay).corrections]
    assert found == [("c1", Kind.NOTE, "accepted"), ("c2", Kind.DROP, "leak: leaks")]
    assert page.errors() == []

    served.end(signal.SIGKILL)
    page.press("a")
    page.wait_for("#message", "nothing that was saved is lost")
    page.browser.get_log("browser")  # the failed request
    page.open(serve(overlay).address)
    assert page.text("#counts") == "2 of 4 judged · 1 accepted · 1 rejected · 0 noted"
    page.shows("c3_")  # the first that is not judged
    page.press("left")
    page.shows("c2_")
    assert page.text("#note") == "“leaks”"
    assert page.text("#verdict") == "rejected: leak"
    assert page.errors() == []


def test_a_list_says_the_order_and_why(
    page: Page, serve: Callable[..., Any], tmp_path: Path
) -> None:
    table = tmp_path / "list.csv"
    names = ["c3_lesion_01_sample_0", "c1_lesion_01_sample_0", "gone"]
    table.write_text("rule,words,voi_id\n" + "".join(f"leak,{HOSTILE},{name}\n" for name in names))
    served = serve(tmp_path / "triage.yaml", "--list", str(table))
    assert served.said["vois"] == 2 and served.said["unknown"] == ["gone"]
    page.open(served.address)
    page.shows("c3_")
    assert page.text("#why") == f"leak: {HOSTILE}"
    page.press("right")
    page.shows("c1_")
    assert page.errors() == []


def drag(page: Page, figure: Any, dx: int, dy: int, shift: bool = False) -> None:
    action = page.actions()
    if shift:
        action.key_down("\ue008")
    action.move_to_element_with_offset(figure, -20, -20).click_and_hold()
    action.move_by_offset(dx // 2, dy // 2).move_by_offset(dx - dx // 2, dy - dy // 2).release()
    if shift:
        action.key_up("\ue008")
    action.perform()


def test_slices_scroll_windows_change_and_what_is_measured_is_said(
    page: Page, server: TriageServer
) -> None:
    page.open(server.address)
    axial, _, sagittal = page.browser.find_elements("css selector", "figure")
    page.wait_for("figure figcaption", "64 of 127")
    page.press("up", "up")
    page.wait_for("figure figcaption", "66 of 127")
    page.wait_for("figure .window", "level −500 width 1400")
    grey = """(() => { const c = document.querySelector("figure canvas");
        return c.getContext("2d").getImageData(c.width / 2, c.height / 2, 1, 1).data[0]; })()"""
    lung = page.wait(grey)
    page.press("w")
    page.wait_for("figure .window", "level 40 width 350")
    page.wait(f"{grey} !== {lung}")
    page.browser.get_log("browser")  # reading pixels back is slow, says the browser
    drag(page, axial, 60, 0)
    page.wait_for("figure .window", "level 40 width 4")  # wider than 350
    page.wheel(sagittal, 120)
    page.wait_for("figure:nth-of-type(3) figcaption", "127 of 255")
    # In the middle of the ball: its value, and millimetres by the affine.
    page.actions().move_to_element(axial).perform()
    page.wait_for("figure .cursor", " HU · 12")
    said = page.text("figure .cursor")
    k = [int(float(mm)) for mm in said.split(" · ")[1].removesuffix(" mm").split(", ")]
    image = nibabel.load(server.lesions.root / "s/images/c1_lesion_01_sample_0.nii").dataobj
    assert said.startswith(f"{int(image[k[0], k[1], 66])} HU".replace("-", "−"))
    # A click in one plane brings the others there.
    assert page.wait("document.querySelector('figure path').getAttribute('d').length > 50")
    page.click(axial, 0.5, 0.4)
    page.wait("!document.querySelectorAll('figcaption')[1].textContent.includes('128 of')")
    box = "document.querySelector('figure svg').getAttribute('viewBox')"
    before = page.wait(box)
    drag(page, axial, 30, 10, shift=True)
    page.wait(f"{box} !== {before!r}")
    page.press("m")
    side = axial.size["width"]
    drag(page, axial, side // 4, 0)
    length = float(page.wait("document.querySelector('figure text').textContent").split()[0])
    width = float(page.wait(f"{box}.split(' ')[2]"))
    assert abs(length - width / 4) < width / 50
    page.press("m", "\ue003")
    page.wait("!document.querySelector('figure text')")
    page.press("f")
    page.wait(
        "document.querySelector('figure').clientWidth > 1.5 * "
        "document.querySelectorAll('figure')[1].clientWidth"
    )
    page.press("f", "?")
    page.wait("document.querySelector('#helping').open")
    page.press("escape")
    assert page.errors() == []


def test_the_worst_comes_first_and_text_is_text(page: Page, server: TriageServer) -> None:
    page.open(server.address)
    page.wait("document.querySelector('#sort').options.length > 5")
    order(page, "predicted_dice")
    page.shows("c2_")
    assert page.text("#order") == "smallest predicted_dice first"
    assert page.text(".sorted dd") == "0.5"
    assert HOSTILE in page.text("#all")
    assert page.wait("document.querySelectorAll('main img').length === 0")
    page.press("right")
    page.shows("c3_")
    assert page.errors() == []


def order(page: Page, column: str) -> None:
    page.browser.execute_script(
        "const s = document.querySelector('#sort'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('change'));",
        column,
    )


SHOWN = "[...document.querySelectorAll('.tile')].map((t) => t.title.slice(0, 2)).sort().join(' ')"


def test_the_wall_chooses_judges_and_takes_back(
    page: Page, serve: Callable[..., Any], tmp_path: Path
) -> None:
    overlay = tmp_path / "triage.yaml"
    served = serve(overlay)
    page.open(served.address)
    page.press("g")
    page.wait("document.body.dataset.wall === 'ready'")
    assert page.wait(SHOWN) == "c1 c2 c3 c4"
    tiles = {
        tile.get_attribute("title")[:2]: tile
        for tile in page.browser.find_elements("css selector", ".tile")
    }
    tiles["c1"].click()
    page.actions().key_down("\ue008").click(tiles["c3"]).key_up("\ue008").perform()
    page.wait_for("#selected", "3 selected")
    page.actions().key_down("\ue009").click(tiles["c2"]).key_up("\ue009").perform()
    page.wait_for("#selected", "2 selected")
    page.press("s")
    page.wait_for("#message", "2 VOIs: shifted")
    assert page.text("#counts") == "2 of 4 judged · 0 accepted · 2 rejected · 0 noted"
    assert {c.voi_id[:2] for c in load_overlay(overlay).corrections} == {"c1", "c3"}
    label = "document.querySelector('[aria-selected=true]').getAttribute('aria-label')"
    assert page.wait(label).endswith("lung, shifted")
    page.press("u")
    page.wait_for("#counts", "0 of 4 judged")
    page.actions().key_down("\ue009").send_keys("a").key_up("\ue009").perform()
    page.wait_for("#selected", "4 selected")
    page.press("y")
    page.wait_for("#counts", "4 of 4 judged")

    # Keys that are faster than the server wait, and are not lost.
    page.press("home", "a", "right", "r", "right", "u", "u")
    page.wait_for("#counts", "4 of 4 judged · 0 accepted · 0 rejected · 4 noted")
    page.press("home", "a", "right", "r", "right", "l")
    page.wait_for("#counts", "4 of 4 judged · 1 accepted · 2 rejected · 1 noted")
    page.press("u", "u", "u")
    page.wait_for("#counts", "4 of 4 judged · 0 accepted · 0 rejected · 4 noted")

    served.end(signal.SIGKILL)
    page.browser.get_log("browser")
    page.open(serve(overlay).address)
    page.wait_for("#counts", "4 of 4 judged · 0 accepted · 0 rejected · 4 noted")
    page.press("u")  # the step on all of them, which the first server took
    page.wait_for("#message", "4 VOIs: undone")
    assert load_overlay(overlay).corrections == ()
    # Opened from the wall, and back to the same place.
    page.press("g", "home", "right", "right", "enter")
    page.shows("c3_")
    page.press("right")
    page.shows("c4_")
    page.press("escape")
    page.wait("document.body.dataset.wall === 'ready'")
    assert page.wait("document.querySelector('.tile.active').title").startswith("c4_")
    assert page.errors() == []


def test_a_large_screen_names_all_that_it_shows(page: Page, tmp_path: Path) -> None:
    out = tmp_path / "out"
    row = write_voi(out, "c0", 8.0, label_voxels_sha256=sha256_voxels(ball(8.0)))
    write_vois(out, [{**row, "voi_id": f"c{n}", "sample_index": n} for n in range(450)])
    with triage_server(out) as server:
        picture = out / thumbnail_path(str(row["label_path"]))
        picture.parent.mkdir()
        picture.write_bytes(server.wall.picture(0))
    size = page.browser.get_window_size()
    page.browser.set_window_size(3840, 2160)
    try:
        with running(triage_server(out)) as server:
            page.open(server.address)
            page.press("g")
            page.browser.execute_script(
                "const s = document.querySelector('#size'); s.value = 80;"
                "s.dispatchEvent(new Event('input'));"
            )
            page.wait("document.querySelectorAll('.tile').length === 450")
            page.wait("[...document.querySelectorAll('.tile')].every((tile) => tile.title)")
            page.wait("document.body.dataset.wall === 'ready'")
            assert page.errors() == []
    finally:
        page.browser.set_window_size(size["width"], size["height"])


def test_a_filter_shows_what_meets_it_and_a_view_keeps_it(page: Page, server: TriageServer) -> None:
    page.open(server.address)
    page.press("g")
    page.wait("document.body.dataset.wall === 'ready'")
    page.press("/")
    page.press(*"predicted_dise > 0.6", "enter")
    page.wait_for("#problem", "Did you mean predicted_dice?")
    assert page.wait("document.querySelector('#where').getAttribute('aria-invalid')") == "true"
    page.browser.find_element("id", "where").clear()
    page.press("escape", "/")
    page.press(*"predicted_dice > 0.6", "enter")
    page.wait_for("#shown", "0 of 2 shown judged")
    page.wait(f"{SHOWN} === 'c1 c3'")
    page.browser.find_element("id", "save-view").click()
    page.press(*"good", "enter")
    page.wait_for("#views", "good (0 of 2 judged)")
    page.browser.find_element("id", "clear").click()
    page.wait(f"{SHOWN} === 'c1 c2 c3 c4'")
    assert server.saved.path.is_file()
    page.browser.get_log("browser")  # the query that was refused


def test_an_address_opens_a_lesion(page: Page, server: TriageServer) -> None:
    page.open(f"{server.address}#s/c3_lesion_01_sample_0/annotated")
    page.shows("c3_")
    page.browser.execute_script("location.hash = '#s/c2_lesion_01_sample_0'")
    page.shows("c2_")
    assert page.wait("location.hash") == "#s/c2_lesion_01_sample_0/annotated"
    page.browser.execute_script("location.hash = '#other/c1_lesion_01_sample_0'")
    page.wait_for("#message", "c1_lesion_01_sample_0 is not among the masks shown")
    page.browser.execute_script("location.hash = '#wall'")
    page.wait("document.body.dataset.wall === 'ready'")
    assert page.errors() == []


def test_a_link_of_another_page_opens_a_lesion(
    page: Page, server: TriageServer, tmp_path: Path
) -> None:
    fragment = voi_fragment("s", "c3_lesion_01_sample_0", "annotated")
    report = tmp_path / "report.html"
    address = server.address.split("?")[0]
    report.write_text(f"<!doctype html><title>r</title><a href='{address}{fragment}'>look</a>")
    page.open(server.address)
    page.browser.get(report.as_uri())
    page.browser.find_element("tag name", "a").click()
    page.shows("c3_")
    assert page.errors() == []
    # Who never opened the whole address learns that they must.
    page.browser.delete_all_cookies()
    page.browser.get(report.as_uri())
    page.browser.find_element("tag name", "a").click()
    assert page.wait("document.querySelector('.locked').clientHeight > 0")
    page.browser.get_log("browser")


def test_layers_are_drawn_in_colours_and_compared(
    page: Page, layered: Path, tmp_path: Path
) -> None:
    with running(triage_server(layered, overlay=tmp_path / "triage.yaml")) as server:
        page.open(server.address)
        page.wait("document.querySelectorAll('#layer-list li').length === 3")
        assert page.text("#layer-list li:nth-child(2)").startswith("juryDice 0.")
        shown = "[...document.querySelectorAll('figure:first-child path')]"
        assert page.wait(f"{shown}.map((path) => path.getAttribute('stroke'))") == ["#56b4e9"]
        page.press("5")
        page.wait(f"{shown}.length === 2")
        # Dashes run round the outline, which is one line: the edges of a ball, end to end.
        dashed = page.wait(f"{shown}[1].getAttribute('d')")
        assert dashed.count("M") == 1
        corners = dashed.removeprefix("M").split("L")
        assert corners[0] == corners[-1] and len({*corners}) == len(corners) - 1
        mask = ball(10.0)[:, :, 64]
        ends = [tuple(map(int, corner.split())) for corner in corners]
        length = sum(abs(a - c) + abs(b - d) for (a, b), (c, d) in pairwise(ends))
        assert length == sum(int((np.diff(mask.astype(int), axis=a) != 0).sum()) for a in (0, 1))
        page.press("right")
        page.shows("c2_")
        page.wait("document.querySelectorAll('#layer-list li').length === 2")
        page.wait(f"{shown}.length === 2")  # what was chosen stays
        page.press("c")
        page.wait(f"{shown}.length === 1")
        assert page.errors() == []
        page.open(f"{server.address}{voi_fragment('s', 'c1_lesion_01_sample_0', 'ellipsoid')}")
        page.wait("document.querySelectorAll('#layer-list input:checked').length === 2")


def test_light_and_dark(page: Page, server: TriageServer) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    found = []
    for mode in ("light", "dark"):
        page.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": mode}]},
        )
        page.open(server.address)
        found.append(page.wait(ground))
    page.press("t")
    page.wait(f"{ground} === {found[0]!r}")
    assert found[0] != found[1]
    assert page.errors() == []


def test_a_page_of_another_origin_gets_nothing(page: Page, servers: list[TriageServer]) -> None:
    """The browser holds the cookie of the first server; a page of the second asks it."""
    one, two = servers
    page.open(one.address)
    page.open(two.address)
    asked = page.browser.execute_async_script(
        """const [origin, done] = arguments;
        const ask = (path, options) => fetch(origin + path, options).then(
            (answer) => `answered ${answer.status}`, () => "refused");
        const body = JSON.stringify({ numbers: [0], word: "rejected" });
        Promise.all([ask("/api/session", { credentials: "include" }),
            ask("/api/verdicts", { method: "POST", body, credentials: "include", mode: "no-cors" }),
        ]).then(done);""",
        one.address.split("/?")[0],
    )
    assert asked == ["refused", "refused"]
    assert not one.verdicts.path.exists()
