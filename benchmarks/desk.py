"""What a curator waits for at the desk: 10,000 VOIs in a real browser.

    python -m benchmarks.desk [--vois 10000] [--folder DIR] [--width 1920 --height 1080]

Builds a few made-up VOIs of every volume source and links them under as many names as asked (kept
in DIR, where they are found again). Then, in Chromium without a window: the first wall, from the
address to the last picture in sight; frames while the wall is scrolled by hand, by pages and by
jumps; a verdict on 500 and its undo, from the key to the page's answer, which comes when the
overlay is on disk; the same in an overlay that holds verdicts on all others; then the server is
killed (-9), what it had answered is looked for on disk, and the next one undoes the last step.
Prints milliseconds; on a busy machine the CPU time of a frame says more than its length. Needs
Chromium, its driver and selenium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.report import many
from uls_data.errata import load_overlay

_CHOSEN = 500
_SCROLL = """
const [how, steps, done] = arguments;
const grid = document.getElementById("grid"), frames = [];
const page = grid.clientHeight, all = grid.scrollHeight - page;
let last = performance.now(), left = steps, at = 12345;
const step = () => {
  const now = performance.now();
  frames.push(now - last);
  last = now;
  if (!left--) { done(frames.slice(1)); return; }
  if (how === "wheel") grid.scrollTop += 120;
  else if (how === "pages") grid.scrollTop += page;
  else if (left % 15 === 0) {
    at = (at * 16807) % 2147483647;
    grid.scrollTop = all * at / 2147483647;
  }
  requestAnimationFrame(step);
};
grid.scrollTop = 0;
requestAnimationFrame(step);
"""
# From the key to what the page does with the answer.
_VERDICT = """
const [key, words, done] = arguments;
const start = performance.now(), line = document.getElementById("message");
line.textContent = "";
const look = () => (line.textContent.includes(words) ? done(performance.now() - start)
  : setTimeout(look, 1));
document.getElementById("grid").dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
look();
"""
_READY = "return document.body.dataset.wall === 'ready'"


class Desk:
    """A server in a process of its own, and a browser that looks at it."""

    def __init__(self, out: Path, overlay: Path, browser: Any) -> None:
        self.browser = browser
        command = [sys.executable, "-m", "uls_data", "triage", str(out), "--json"]
        start = time.monotonic()
        self.server = subprocess.Popen(
            [*command, "--overlay", str(overlay)], stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout is not None
        self.address = json.loads(self.server.stdout.readline())["address"]
        self.started_ms = 1000 * (time.monotonic() - start)

    def wall_ms(self) -> float:
        """Open the wall; milliseconds from the address to the last picture in sight."""
        self.browser.get(f"{self.address}#wall")
        self.wait(_READY)
        return float(
            self.browser.execute_script("return performance.getEntriesByName('wall')[0].startTime")
        )

    def wait(self, script: str) -> None:
        """Wait until JavaScript says something true."""
        until = time.monotonic() + 60
        while not self.browser.execute_script(script):
            if time.monotonic() > until:
                raise TimeoutError(script)
            time.sleep(0.02)

    def busy_ms(self) -> float:
        """CPU time of the page's main thread, which no other process delays."""
        told = self.browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return 1000 * float(next(m["value"] for m in told if m["name"] == "TaskDuration"))

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds of all processes of the browser, and of the server."""
        driver = self.browser.service.process.pid
        return _cpu_s(driver), _cpu_s(self.server.pid)

    def frames(self, how: str, steps: int) -> str:
        """Scroll; longest frame, how many took over 50 and 100 ms, and the page's own work."""
        before, cpu = self.busy_ms(), self.cpu_s()
        found = self.browser.execute_async_script(_SCROLL, how, steps)
        busy = (self.busy_ms() - before) / len(found)
        browser, server = (
            1000 * (b - a) / len(found) for a, b in zip(cpu, self.cpu_s(), strict=True)
        )
        self.wait(_READY)
        slow = [sum(frame > limit for frame in found) for limit in (50, 100)]
        return (
            f"{max(found):6.0f} longest of {len(found)}, median {median(found):.0f}, "
            f"{slow[0]} over 50, {slow[1]} over 100; CPU a frame: "
            f"page {busy:.1f}, browser in all {browser:.1f}, server {server:.1f}"
        )

    def judge_ms(self, key: str, words: str) -> float:
        """Press a key; milliseconds until the page says what was judged."""
        return float(self.browser.execute_async_script(_VERDICT, key, words))

    def choose(self) -> None:
        """Choose the first 500 VOIs."""
        self.browser.execute_async_script(
            """const [count, done] = arguments;
            Promise.all([import("/wall.js"), import("/desk.js")]).then(([w, { desk, tell }]) => {
              w.wall.selected = new Set(desk.order.slice(0, count));
              tell("selection");
              done();
            });""",
            _CHOSEN,
        )

    def kill(self) -> None:
        """End the server as a crash does."""
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process and of those that it started."""
    process, seconds = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            seconds += times.user + times.system
    return seconds


@contextmanager
def _browser(width: int, height: int) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={width},{height}")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    browser.set_script_timeout(120)
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    try:
        yield browser
    finally:
        browser.quit()


def measure(out: Path, width: int, height: int) -> None:
    """Print what everything takes."""
    folder = Path(tempfile.mkdtemp())
    overlay = folder / "triage.yaml"
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {width} x {height}; ms")
    try:
        with _browser(width, height) as browser, ExitStack() as servers:
            desk = Desk(out, overlay, browser)
            servers.callback(desk.kill)
            print(f"{'server answers':32}{desk.started_ms:6.0f}")
            print(f"{'first wall':32}{desk.wall_ms():6.0f}")
            print(f"{'  once more':32}{desk.wall_ms():6.0f}")
            for how, steps in (("wheel", 300), ("pages", 120), ("jumps", 300)):
                print(f"{'scrolled, ' + how:32}{desk.frames(how, steps)}")
            desk.choose()
            print(f"{'verdict on 500':32}{desk.judge_ms('l', '500 VOIs: leak'):6.0f}")
            assert len(load_overlay(overlay).corrections) == _CHOSEN
            print(f"{'undo':32}{desk.judge_ms('u', '500 VOIs: undone'):6.0f}")
            assert len(load_overlay(overlay).corrections) == 0
            browser.find_element("id", "select-all").click()
            count = browser.find_element("class name", "tile").get_attribute("aria-setsize")
            print(f"{'verdict on all':32}{desk.judge_ms('a', f'{count} VOIs: accepted'):6.0f}")
            desk.choose()
            print(f"{'verdict on 500 of these':32}{desk.judge_ms('s', '500 VOIs: shifted'):6.0f}")
            desk.kill()
            corrections = load_overlay(overlay).corrections
            found = sum(c.reason == "shifted" for c in corrections)
            print(f"{'on disk after kill -9':32}{len(corrections):6}, {found} of them shifted")
            desk = Desk(out, overlay, browser)
            servers.callback(desk.kill)
            print(f"{'server answers, all judged':32}{desk.started_ms:6.0f}")
            print(f"{'first wall, all judged':32}{desk.wall_ms():6.0f}")
            print(f"{'undo of the step before':32}{desk.judge_ms('u', '500 VOIs: undone'):6.0f}")
            assert not any(c.reason == "shifted" for c in load_overlay(overlay).corrections)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vois", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    given = parser.parse_args()
    if given.vois < _CHOSEN:
        parser.error(f"--vois: expected at least {_CHOSEN}")
    folder = given.folder or Path(tempfile.mkdtemp())
    try:
        out = folder / "vois"
        if not out.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            many(folder, given.vois)
        measure(out, given.width, given.height)
    finally:
        if given.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
