"""The page in a real browser: keys reach the overlay, every slice loads, nothing complains."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from makers.browser import Page

from uls_data.errata import Kind, load_overlay
from uls_data.triage import TriageServer

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
    page.press("r")
    page.shows("c3_")
    page.press("r")
    page.shows("c4_")
    page.press("u")
    page.shows("c3_")
    page.wait_for("#verdict", "not judged")
    assert page.text("#counts") == "2 of 4 judged · 1 accepted · 1 rejected · 0 noted"
    found = [(c.voi_id[:2], c.kind, c.reason) for c in load_overlay(overlay).corrections]
    assert found == [("c1", Kind.NOTE, "accepted"), ("c2", Kind.DROP, "leaks")]
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


def test_slices_scroll_windows_change_and_the_worst_comes_first(
    page: Page, server: TriageServer
) -> None:
    page.open(server.address)
    caption = "figure[data-plane='0'] figcaption"
    page.wait_for(caption, "64 of 127")
    page.press("up", "up")
    page.wait_for(caption, "66 of 127")
    loaded = """Array.from(document.querySelectorAll("figure image")).filter((image) =>
        performance.getEntriesByName(image.href.baseVal.startsWith("http") ? image.href.baseVal
        : new URL(image.href.baseVal, location).href).length).length === 3"""
    page.wait(loaded)
    assert "/2/66/lung" in page.wait("document.querySelector('figure image').href.baseVal")
    page.press("w")
    page.wait("document.querySelector('figure image').href.baseVal.endsWith('/2/66/soft')")
    figure = page.browser.find_elements("css selector", "figure")[2]
    page.wheel(figure, 120)
    page.wait_for("figure[data-plane='2'] figcaption", "127 of 255")
    # A click in one plane brings the others there: 10 mm to the patient's left, and in front.
    path = "document.querySelector('figure[data-plane=\"0\"] path')"
    assert page.wait(f"{path}.getAttribute('d').length") > 50
    page.browser.find_elements("css selector", "figure")[0].click()
    page.wait_for("figure[data-plane='1'] figcaption", "128 of 255")

    page.press("j")
    page.wait("document.querySelector('#ordering').open")
    page.browser.execute_script("document.querySelector('#column').value = 'predicted_dice'")
    page.press("enter")
    page.shows("c2_")
    assert page.text("#order") == "smallest predicted_dice first"
    assert page.text(".sorted dd") == "0.5"
    # Text of the manifest is text.
    assert HOSTILE in page.text("#all")
    assert page.wait("document.querySelectorAll('main img').length === 0")
    page.press("right")
    page.shows("c3_")
    page.press("?")
    page.wait("document.querySelector('#helping').open")
    page.press("escape")
    assert page.errors() == []


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
        const body = JSON.stringify({ number: 0, word: "rejected" });
        Promise.all([ask("/api/session", { credentials: "include" }),
            ask("/api/verdicts", { method: "POST", body, credentials: "include", mode: "no-cors" }),
        ]).then(done);""",
        one.address.split("/?")[0],
    )
    assert asked == ["refused", "refused"]
    assert not one.verdicts.path.exists()
