"""What commands show on a terminal: words that fit it, and a bar that says what it waits for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from uls_data.cli.progress_bar import Progress, rate_text
from uls_data.manifest import write_manifest

DETAIL = (
    "images/case_with_a_long_name_00017.nii.gz: voxels need 1,234,567 bytes, found 1,000; the file "
    "is cut short; download it again"
)


def on_terminal(*command: str, columns: int = 80) -> str:
    """What a command prints on a terminal, on both streams."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    run = subprocess.Popen(
        [sys.executable, *command], stdout=slave, stderr=slave, env=environment, close_fds=True
    )
    os.close(slave)
    data = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(master, 1 << 16):
            data += piece
    os.close(master)
    assert run.wait(60) == 0, data.decode()
    return data.decode().replace("\r\n", "\n")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "mine.parquet"
    rows = [
        {
            "source": "mine", "case_id": f"c{number}", "layer": "annotated", "lesion_index": number,
            "sample_index": 0, "status": "failed" if number == 2 else "ok", "qc_flags": [],
            "reason": "truncated_file" if number == 2 else None,
            "detail": DETAIL if number == 2 else None,
        }
        for number in (1, 2, 3)
    ]  # fmt: skip
    write_manifest(rows, path)
    return path


def test_detail_is_never_cut(manifest: Path) -> None:
    shown = "case_id,status,reason,detail"
    command = ("-m", "uls_data", "query", str(manifest), "--columns", shown)
    text = on_terminal(*command)
    assert all(len(line) <= 80 for line in text.splitlines()) and "…" not in text
    assert DETAIL in " ".join(text.split())
    lines = text.splitlines()
    assert lines[0].split() == ["case_id", "status", "reason"]
    assert lines[2].startswith("c2") and lines[3].startswith("    images/case_with")
    # Where there is room, it stays in its row.
    assert f"truncated_file  {DETAIL}" in on_terminal(*command, columns=300)


def test_other_words_are_cut(manifest: Path) -> None:
    command = ("-m", "uls_data", "query", str(manifest), "--columns", "case_id,reason,status")
    text = on_terminal(*command, columns=28)
    assert "trunc" in text and "…" in text


def test_a_bar_says_what_it_waits_for() -> None:
    text = on_terminal(
        "-c",
        "import time\n"
        "from uls_data.cli.progress_bar import Progress\n"
        "with Progress('lesions') as bar:\n"
        "    time.sleep(2.2)\n"
        "    bar.begin(12)\n"
        "    time.sleep(3.2)\n"
        "    bar.step(1, 1)\n",
        columns=120,
    )
    assert "0 of 12 cases" in text and "the first cases are at work" in text
    assert "1 of 12 cases" in text and "s per lesion" in text
    assert "/ cases" not in text and "s/it" not in text
    # It moves while nothing is finished, and before it is known how much there is.
    assert "looking for cases [00:00]" in text and "looking for cases [00:01]" in text
    assert "0 of 12 cases [00:01<?" in text or "0 of 12 cases [00:02<?" in text


def test_where_nothing_is_left_to_do_no_bar_says_that_it_looks() -> None:
    text = on_terminal(
        "-c",
        "import time\n"
        "from uls_data.cli.progress_bar import Progress\n"
        "with Progress('lesions') as bar:\n"
        "    bar.begin(12, 12)\n"
        "    time.sleep(1.2)\n",
    )
    assert "[00:01]" not in text


def test_the_bar_of_an_interrupted_command_is_gone() -> None:
    text = on_terminal(
        "-c",
        "import contextlib, threading\n"
        "from uls_data.cli.progress_bar import Progress\n"
        "with contextlib.suppress(KeyboardInterrupt), Progress('lesions') as bar:\n"
        "    bar.begin(3)\n"
        "    raise KeyboardInterrupt\n"
        "print([one.name for one in threading.enumerate() if 'progress' in one.name])\n",
    )
    assert text.rstrip().endswith("[]")


def test_a_rate_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour of waiting for a disk it says how fast it goes now."""
    now = 1000.0
    monkeypatch.setattr("uls_data.cli.progress_bar.time.monotonic", lambda: now)
    bar = Progress("lesions")
    bar.begin(10_000)
    now += 3600
    bar.step(1, 1)
    for _ in range(200):
        now += 0.5
        bar.step(1, 1)
    assert bar.rate(now) == "2.0 lesions/s"
    slow = Progress("lesions")
    slow.begin(10)
    for _ in range(3):
        now += 90
        slow.step(1, 1)
    assert slow.rate(now) == "90.0 s per lesion"


@pytest.mark.parametrize(
    ("things", "seconds", "words"),
    [(40, 10.0, "4.0 lesions/s"), (1, 9.39, "9.4 s per lesion"), (0, 5.0, "0.0 lesions/s")],
)
def test_rates(things: int, seconds: float, words: str) -> None:
    assert rate_text(things, seconds, "lesions") == words


def test_names_of_others_do_not_control_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    row = dict.fromkeys(("lesion_index", "sample_index", "layer")) | {
        "source": "s",
        "status": "failed",
    }
    row |= {"case_id": "a\x1b[31m", "detail": "b\x07\u202e\nc"}
    write_manifest([row], path)
    command = ("-m", "uls_data", "query", str(path), "--columns", "case_id,detail")
    said = on_terminal(*command)
    assert "a\ufffd[31m   b\ufffd\ufffd c" in said and not {"\x1b", "\x07", "\u202e"} & set(said)
