"""One writer of one folder: locks, and every command that takes one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from makers.builds import SMALL_PARTS, TWO, make_release
from makers.vois import tiny_plan, write_voi, write_vois

import uls_data
from uls_data.errors import SourceError, UlsDataError
from uls_data.io.lock import LOCK, locked
from uls_data.network.prediction import predict
from uls_data.network.training import train
from uls_data.release import release_build, release_verify
from uls_data.reporting import making

HOLDER = "another run is at work there (process {pid} on "


def everything(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def refused(lock: Path, folder: Path) -> Iterator[None]:
    """While another process holds a lock, a run ends with one line and changes nothing."""
    code = (
        "import sys, pathlib\n"
        "from uls_data.io.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'x'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        before = everything(folder)
        with pytest.raises(SourceError) as caught:
            yield
        message = str(caught.value)
        assert HOLDER.format(pid=other.pid) in message and "\n" not in message
        assert message.startswith("--")
        assert everything(folder) == before
        other.communicate()
    assert not lock.exists()


@pytest.fixture(scope="module")
def vois(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vois")
    write_vois(out, [write_voi(out, f"p{n}", 8 + n) for n in range(2)])
    return out


def fit(vois: Path, out: Path) -> None:
    train(vois, out, plan=tiny_plan(), device="cpu", steps=2, workers=1)


@pytest.fixture(scope="module")
def model(vois: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    fit(vois, out)
    return out


def test_train(vois: Path, model: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(model, tmp_path / "model"))
    with refused(out / LOCK, out):
        fit(vois, out)
    with locked(out / LOCK, "x"):  # which touches nothing
        dry = train(vois, out, plan=tiny_plan(), device="cpu", steps=2, dry_run=True)
    assert dry.done == 2
    fit(vois, out)
    assert everything(out) == everything(model)


def test_predict(vois: Path, model: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"device": "cpu", "workers": 1}
    one, two = tmp_path / "one", tmp_path / "two"
    predict(vois, model, one, **options)
    before = everything(one)
    assert not [name for name in before if "lock" in name]
    lock = one / "manifest" / ".pseudo3d-r1.lock"
    with refused(lock, one):
        predict(vois, model, one, **options)
    with refused(two / lock.relative_to(one), two):
        predict(vois, model, two, **options)
    assert not two.exists()  # it was the holder's, and nothing came of it
    with locked(lock, "x"):  # another layer has files of its own
        predict(vois, model, one, layer="other", **options)
        predict(vois, model, one, dry_run=True, **options)
    predict(vois, model, two, **options)
    assert everything(two) == before


def test_selftrain(vois: Path, tmp_path: Path) -> None:
    with refused(tmp_path / "loop" / LOCK, tmp_path):
        uls_data.selftrain(vois, vois, tmp_path / "loop", plan=tiny_plan(), device="cpu")


def test_release_build(tmp_path: Path) -> None:
    make_release(tmp_path, TWO)
    out, release = tmp_path / "out", tmp_path / "release"
    before = everything(release)
    with refused(release / LOCK, tmp_path):
        release_build(out, release, "1.0", part_size=SMALL_PARTS)
    # Of a run that was killed: taken over, and gone at the end.
    (release / LOCK).write_text("process 1 on nowhere\n")
    release_build(out, release, "1.0", part_size=SMALL_PARTS)
    assert everything(release) == before
    assert not release_verify(release).findings
    with pytest.raises(UlsDataError, match="no such file"):
        release_build(tmp_path / "nothing", tmp_path / "new" / "release", "1.0")
    assert not (tmp_path / "new").exists()


def test_report(vois: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "figures", lambda _rows, _numbers: ())
    uls_data.report(vois, tmp_path / "page.html")
    before = everything(tmp_path)
    with refused(tmp_path / "page-files" / LOCK, tmp_path):
        uls_data.report(vois, tmp_path / "page.html")
    uls_data.report(vois, tmp_path / "page.html")
    assert everything(tmp_path) == before


def test_the_command_line_ends_with_two(vois: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "page-files" / LOCK, "x"):
        run = [sys.executable, "-m", "uls_data", "report", str(vois), "--to"]
        run.append(str(tmp_path / "page.html"))
        ended = subprocess.run(run, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and HOLDER.format(pid=os.getpid()) in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_is_no_obstacle(tmp_path: Path) -> None:
    lock = tmp_path / "a" / LOCK
    code = (
        "import sys, pathlib, os, signal\n"
        "from uls_data.io.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'x'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(lock)], check=False)
    assert ended.returncode == -signal.SIGKILL and lock.is_file()
    with locked(lock, "x"):
        assert lock.read_text().startswith(f"process {os.getpid()} on ")
    assert everything(tmp_path) == {"a": None}  # which was there before


def test_one_at_a_time_and_nothing_left(tmp_path: Path) -> None:
    """Also while the folder of the lock comes and goes; an empty one may stay."""
    inside, most, done = 0, 0, 0

    def enter(number: int) -> None:
        nonlocal inside, most, done
        with locked(tmp_path / "a" / "b" / LOCK, "x", wait=True):
            inside += 1
            most = max(most, inside)
            time.sleep(0.001 * (number % 3))
            inside -= 1
            done += 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(enter, range(120)))
    assert (most, done) == (1, 120)
    assert not [name for name, data in everything(tmp_path).items() if data is not None]


def test_waiting(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / LOCK, "x", wait=True):
            order.append("second")

    with locked(tmp_path / LOCK, "x"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_what_cannot_be_locked(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("not a lock")
    (tmp_path / LOCK).symlink_to(victim)
    for path in (tmp_path / LOCK, victim / LOCK):
        with (
            pytest.raises(SourceError, match="--out y: cannot be written"),
            locked(path, "--out y"),
        ):
            pytest.fail("held")
    assert victim.read_text() == "not a lock"


def test_an_error_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path / "a" / LOCK, "x"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / LOCK, "x"):
        (tmp_path / "a" / "result").touch()
    assert everything(tmp_path) == {"a": None, "a/result": b""}
