"""A real browser that looks at a page of a server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

KEYS = {
    "right": "\ue014",
    "left": "\ue012",
    "up": "\ue013",
    "down": "\ue015",
    "home": "\ue011",
    "enter": "\ue007",
    "escape": "\ue00c",
}


class Page:
    """A browser that looks at a triage page."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, address: str) -> None:
        self.browser.get("about:blank")
        self.browser.get_log("browser")  # what an earlier server left unanswered
        self.browser.get(address)
        self.wait("document.body.dataset.ready")

    def wait(self, expression: str) -> Any:
        """Wait until JavaScript says something true; returns it."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if found := self.browser.execute_script(f"return {expression}"):
                return found
            time.sleep(0.02)
        raise AssertionError(f"not so: {expression}; {self.text('#message')}")

    def shows(self, name: str) -> None:
        """Wait until all of a VOI is on the screen."""
        self.wait_for("#name", name)
        self.wait("document.body.dataset.ready")

    def press(self, *keys: str) -> None:
        action = self.actions()
        for key in keys:
            action.send_keys(KEYS.get(key, key))
        action.perform()

    def text(self, selector: str) -> str:
        return str(
            self.browser.execute_script(
                "return document.querySelector(arguments[0]).textContent", selector
            )
        )

    def wait_for(self, selector: str, words: str) -> None:
        self.wait(f"document.querySelector({selector!r}).textContent.includes({words!r})")

    def errors(self) -> list[Any]:
        return [e for e in self.browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]

    def actions(self) -> Any:
        """Actions of keyboard and mouse, at once."""
        from selenium.webdriver import ActionChains

        return ActionChains(self.browser, duration=0)

    def click(self, element: Any, x: float, y: float) -> None:
        """Click at a share of an element's width and height."""
        size = element.size
        dx, dy = round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])
        self.actions().move_to_element_with_offset(element, dx, dy).click().perform()

    def wheel(self, element: Any, by: int) -> None:
        """Turn the wheel over an element."""
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

        self.actions().scroll_from_origin(ScrollOrigin.from_element(element), 0, by).perform()


@contextmanager
def opened() -> Iterator[Page]:
    """Chromium without a window; the test that asks for it is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,800")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield Page(browser)
    finally:
        browser.quit()
