"""The page in a real browser, opened from disk: nothing fails, filter and sort work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from makers.spoiled import HOSTILE
from makers.vois import write_voi, write_vois

import uls_data
from uls_data.reporting import making

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
TYPES = ("lung", "liver", "kidney")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: uls-data[browser]")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium with its driver on this machine (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five lesions, one failed case, and text that tries to be markup."""
    out = tmp_path_factory.mktemp("vois")
    rows = [
        write_voi(
            out,
            f"case_{n}",
            6 + n,
            lesion_type=TYPES[n % 3],
            annotator=HOSTILE,
            mask_voxels=None,
            short_axis_mm=8.0 + n,
            fold=None if n == 2 else 10 - n,
        )
        for n in range(5)
    ]
    rows.append(
        {
            "source": "s",
            "case_id": HOSTILE,
            "lesion_index": None,
            "sample_index": None,
            "layer": "annotated",
            "status": "failed",
            "reason": "unreadable",
            "detail": HOSTILE,
        }
    )
    write_vois(out, rows)
    return out


@pytest.fixture(scope="module", params=["one file", "folder"])
def page(
    request: pytest.FixtureRequest,
    out: Path,
    browser: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """The browser with the page open, its pictures inside or beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "MOST_EMBEDDED", 2000 if request.param == "one file" else 2)
        made = uls_data.report(out, tmp_path_factory.mktemp("report"))
    browser.get(made.page.as_uri())
    return browser


def names(browser: Any) -> list[str]:
    return list(
        browser.execute_script(
            "return [...document.querySelectorAll('#rows .card b')].map(b => b.textContent)"
        )
    )


def sort(browser: Any, column: str, descending: bool = False) -> list[str]:
    browser.execute_script(
        """const [column, descending] = arguments;
        const sort = document.getElementById('sort');
        const box = document.getElementById('descending');
        box.checked = descending;
        sort.value = column;
        sort.dispatchEvent(new Event('change'));""",
        column,
        descending,
    )
    return [name.split("_lesion")[0] for name in names(browser)]


def add_condition(browser: Any, column: str, operator: str, value: str = "") -> None:
    browser.execute_script(
        """const [column, operator, value] = arguments;
        const find = (id) => document.getElementById(id);
        find('column').value = column;
        find('column').dispatchEvent(new Event('change'));
        find('operator').value = operator;
        find('operand').value = value;
        find('condition').requestSubmit();""",
        column,
        operator,
        value,
    )


def remove_last_condition(browser: Any) -> None:
    browser.execute_script("document.querySelector('#conditions button:last-child').click()")


def test_every_picture_loads_and_nothing_is_complained_about(page: Any) -> None:
    drawn = page.execute_async_script(
        """const done = arguments[arguments.length - 1];
        const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        (async () => {
          for (let y = 0; y < document.body.scrollHeight; y += 500) {
            scrollTo(0, y);
            await wait(30);
          }
          for (let tries = 0; tries < 100; tries += 1) {
            const seen = [...document.images].filter((i) => i.offsetParent !== null);
            const empty = [...document.querySelectorAll('.picture')].filter((p) => !p.firstChild);
            if (empty.length === 0 && seen.every((i) => i.complete)) break;
            await wait(50);
          }
          const seen = [...document.images].filter((i) => i.offsetParent !== null);
          const blank = seen.filter((i) => i.naturalWidth === 0);
          done([seen.length, blank.map((i) => i.src.slice(0, 90))]);
        })();"""
    )
    assert drawn[0] >= 9 and drawn[1] == []
    assert page.get_log("browser") == []


def test_text_of_a_manifest_runs_nowhere(page: Any) -> None:
    page.execute_script("document.querySelector('#not-built summary').click()")
    page.execute_script("document.querySelector('#rows .card').click()")
    shown = page.execute_script("return document.getElementById('details').textContent")
    assert HOSTILE in shown
    page.execute_script("document.querySelector('#details .close').click()")
    assert page.title.startswith("Report of")
    assert page.execute_script("return document.querySelectorAll('img[src=\"x\"]').length") == 0
    # Nor would it if it had reached the page: the policy allows the page's own script alone.
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1';"
        "document.body.append(s)"
    )
    assert page.title.startswith("Report of")
    assert any("Content Security Policy" in line["message"] for line in page.get_log("browser"))


def test_sorting_by_any_column(page: Any) -> None:
    assert sort(page, "long_axis_mm") == [f"case_{n}" for n in range(5)]
    assert sort(page, "long_axis_mm", True) == [f"case_{n}" for n in (4, 3, 2, 1, 0)]
    # Without a value: last, either way.
    assert sort(page, "fold") == ["case_4", "case_3", "case_1", "case_0", "case_2"]
    assert sort(page, "fold", True) == ["case_0", "case_1", "case_3", "case_4", "case_2"]
    assert sort(page, "lesion_type")[0] == "case_2"
    assert sort(page, "") == [f"case_{n}" for n in range(5)]


def test_filtering_by_any_column(page: Any) -> None:
    assert len(names(page)) == 5  # those that are ok
    add_condition(page, "lesion_type", "is", "lung")
    assert [name[:6] for name in names(page)] == ["case_0", "case_3"]
    add_condition(page, "long_axis_mm", "≥", "15")
    assert [name[:6] for name in names(page)] == ["case_3"]
    assert page.find_element("id", "count").text == "1 of 6 rows"
    remove_last_condition(page)
    remove_last_condition(page)
    add_condition(page, "fold", "is empty")
    assert [name[:6] for name in names(page)] == ["case_2"]
    remove_last_condition(page)
    add_condition(page, "case_id", "contains", "CASE_4")
    assert [name[:6] for name in names(page)] == ["case_4"]
    remove_last_condition(page)
    assert len(names(page)) == 5


def test_failures_are_shown_below_on_request(page: Any) -> None:
    page.execute_script("document.querySelector('[data-filter]').click()")
    assert names(page) == [HOSTILE]
    while page.execute_script("return document.querySelectorAll('#conditions button').length"):
        remove_last_condition(page)
    assert len(names(page)) == 6
    add_condition(page, "status", "is", "ok")


def test_a_lesion_opens_and_arrows_lead_on(page: Any) -> None:
    title = "return document.querySelector('#details b').textContent"
    page.execute_script("document.querySelector('#rows .card').click()")
    assert page.execute_script(title).startswith("case_0")
    page.find_element("id", "details").send_keys("\ue014")  # arrow right
    assert page.execute_script(title).startswith("case_1")
    page.find_element("css selector", "#details .back").click()
    assert page.execute_script(title).startswith("case_0")
    page.find_element("css selector", "#details .close").click()
    assert not page.execute_script("return document.getElementById('details').open")


def test_the_table_sorts_by_its_heads(page: Any) -> None:
    choose = """const view = document.getElementById('view');
        view.value = arguments[0];
        view.dispatchEvent(new Event('change'));"""
    page.execute_script(choose, "table")
    click = """[...document.querySelectorAll('#rows th button')]
        .find((b) => b.textContent === 'long_axis_mm').click()"""
    first = "return document.querySelector('#rows tbody tr').textContent"
    page.execute_script(click)
    assert "case_0" in page.execute_script(first)
    page.execute_script(click)
    assert "case_4" in page.execute_script(first)
    page.execute_script(choose, "pictures")
    sort(page, "")


def test_a_page_is_jumped_to_and_a_case_is_found(
    out: Path, browser: Any, tmp_path: Path, page: Any
) -> None:
    jump = """const input = document.querySelector('.pager input');
        input.value = arguments[0];
        input.dispatchEvent(new Event('change'));
        return document.querySelector('.pager').textContent.trim().replace(/\\s+/g, ' ')"""
    assert "of 1" in page.execute_script(jump, 9) and len(names(page)) == 5
    here = page.current_url
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MOST_ROWS", "ROWS_OF_A_PART", "MOST_EMBEDDED"):
            patch.setattr(making, name, 2)
        made = uls_data.report(out, tmp_path)
    browser.get(made.page.as_uri())
    search = """document.getElementById('wanted').value = arguments[0];
        document.getElementById('find').requestSubmit();
        return document.getElementById('found').textContent"""
    assert browser.execute_script(search, "zzz") == "on no page"
    browser.execute_script(search, "case_3_lesion_01_sample_0")
    shown = "return document.querySelector('#rows tbody')?.textContent ?? ''"
    until = time.monotonic() + 20
    while "case_3" not in browser.execute_script(shown) and time.monotonic() < until:
        time.sleep(0.02)
    assert browser.current_url.endswith("rows/0002.html#case_3_lesion_01_sample_0")
    assert browser.find_element("id", "count").text == "1 of 2 rows"
    assert browser.get_log("browser") == []
    browser.find_element("css selector", "header nav a").click()
    assert browser.find_element("id", "overview")
    browser.get(here)  # of the tests that follow


def search(browser: Any, words: str) -> list[str]:
    browser.execute_script(
        """const field = document.getElementById('search');
        field.value = arguments[0];
        field.dispatchEvent(new Event('input'));""",
        words,
    )
    time.sleep(0.4)
    return [name.split("_lesion")[0] for name in names(browser)]


def test_search_meets_all_words_in_any_column_of_text(page: Any) -> None:
    assert search(page, "lung") == ["case_0", "case_3"]
    assert search(page, "LUNG case_3") == ["case_3"]
    assert search(page, "lung liver") == []
    assert search(page, "") == [f"case_{n}" for n in range(5)]


def test_first_last_and_rows_a_page(page: Any) -> None:
    page.execute_script(
        """const field = document.getElementById('perpage');
        field.append(new Option('2'));
        field.value = '2';
        field.dispatchEvent(new Event('change'));"""
    )
    sort(page, "long_axis_mm")
    page.execute_script("document.querySelector('.pager .last').click()")
    assert names(page)[0].startswith("case_4")
    assert page.execute_script("return document.querySelector('.pager .next').disabled")
    place = page.find_element("id", "place").text
    assert place.startswith("long_axis_mm ") and " to " in place
    page.execute_script("document.querySelector('.pager .first').click()")
    assert names(page)[0].startswith("case_0")
    page.execute_script(
        """const field = document.getElementById('perpage');
        field.value = '48';
        field.dispatchEvent(new Event('change'));"""
    )
    sort(page, "")


def test_a_lesion_is_opened_in_triage(page: Any, out: Path, tmp_path: Path) -> None:
    overlay = str(tmp_path / "verdicts.yaml")
    command = [sys.executable, "-m", "uls_data", "triage", str(out), "--json", "--overlay", overlay]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["address"]
        here = page.current_url
        page.execute_script("document.querySelectorAll('#rows .card')[3].click()")
        give = """const field = document.getElementById('address');
            field.value = arguments[0];
            field.dispatchEvent(new Event('input'));
            const link = document.getElementById('judge');
            return link.hidden ? null : link.href"""
        for wrong in ("", "javascript:alert(1)", "http://127.0.0.1.evil.org:80/", "http://x:1/?"):
            assert page.execute_script(give, wrong) is None
        link = page.execute_script(give, address)
        assert link == f"{address}#s/case_3_lesion_01_sample_0/annotated"
        page.get(link)
        until = time.monotonic() + 20
        shown = "return document.getElementById('name')?.textContent ?? ''"
        while "case_3" not in page.execute_script(shown) and time.monotonic() < until:
            time.sleep(0.05)
        assert "case_3_lesion_01_sample_0" in page.execute_script(shown)
        page.get(here)
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)


def test_light_and_dark_follow_the_system_and_the_button(page: Any) -> None:
    back = "return getComputedStyle(document.body).backgroundColor"
    plots = "return [...document.querySelectorAll('.figure img')].filter(i => i.offsetParent)"
    for scheme, colour in (("dark", "rgb(16, 20, 24)"), ("light", "rgb(255, 255, 255)")):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        assert page.execute_script(back) == colour
        assert page.execute_script(f"{plots}.every(i => i.className === '{scheme}')")
    button = page.find_element("id", "theme")
    page.execute_script("scrollTo(0, 0)")
    for shown, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(16, 20, 24)")):
        button.click()
        assert button.text == f"theme: {shown}"
        assert page.execute_script(back) == colour
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.execute_script(back) == "rgb(255, 255, 255)"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    button.click()
    assert button.text == "theme: auto"


def test_the_page_fits_a_laptop(page: Any) -> None:
    page.set_window_size(1280, 900)
    wide = page.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide == 0
