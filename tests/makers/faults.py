"""What the fault tests share: small archives, runs of the real command line, trees of files."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from demo.files import set_times, write_nifti
from demo.phantom import LesionSpec, make_phantom
from uls_data.cli import main
from uls_data.recipe import recipe_template

# `make fuzz` raises it to 100.
KILLS = int(os.environ.get("ULS_DATA_KILLS", "12"))
SHAPE = (48, 40, 24)
PATIENCE_S = 120.0
_MARK = "ULS_DATA_FAULT_TEST"
_LESIONS = (
    LesionSpec((0.3, 0.5, 0.5), 4.0),
    LesionSpec((0.7, 0.5, 0.4), 3.5),
    LesionSpec((0.5, 0.25, 0.6), 4.5),
)


def put(raw: Path, case: str, seed: int, lesions: int = 2) -> None:
    """Write one case: an image and a mask of `lesions` lesions."""
    phantom = make_phantom(seed, SHAPE, (0.8, 0.8, 2.0), _LESIONS[:lesions])
    mask = (phantom.label_map > 0).astype("uint8")
    write_nifti(raw / "images" / f"{case}.nii.gz", phantom.ct_hu, phantom.affine())
    write_nifti(raw / "masks" / f"{case}.nii.gz", mask, phantom.affine())


def make_raw(raw: Path, cases: int, *, broken: bool = False, source: str = "mine") -> Path:
    """Write an archive of 2 or 3 lesions per case, and its recipe; returns the recipe's path."""
    for number in range(cases):
        put(raw, f"case_{number:02}", number, lesions=2 + number % 2)
    if broken:
        put(raw, "case_01_cut", 99)
        path = raw / "images" / "case_01_cut.nii.gz"
        path.write_bytes(path.read_bytes()[:2000])
    recipe = raw / f"{source}.yaml"
    recipe.write_text(recipe_template(source), encoding="utf-8")
    set_times(raw)
    return recipe


def tree(out: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if not path.is_dir() or path.is_symlink()
    }


def assert_same(out: Path, expected: dict[str, bytes]) -> None:
    """Compare a folder with a tree; names what differs instead of printing bytes."""
    found = tree(out)
    assert not list(out.rglob(".tmp-*"))
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    other = sorted(n for n in found.keys() & expected.keys() if found[n] != expected[n])
    assert (missing, extra, other) == ([], [], []), "missing, extra, other bytes"


def vois(out: Path, source: str = "mine") -> int:
    """Finished images and labels of a source; quick, because tests look again and again."""
    found = 0
    for folder in ("images", "labels/annotated"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += len(os.listdir(out / source / folder))  # noqa: PTH208
    return found


def temporaries(out: Path) -> list[Path]:
    """Files of cases at work, or at work when their process died."""
    return list(out.glob("*/.tmp-*/*/*"))


def until(
    condition: Callable[[], object],
    run: Run | None = None,
    limit_s: float = 60.0,
    every_s: float = 0.01,
) -> bool:
    """Wait until a condition holds; False where the run ended before that."""
    give_up = time.monotonic() + limit_s
    while not condition():
        if run is not None and run.poll() is not None:
            return False
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(every_s)
    return True


class Run:
    """A command in a session of its own, with every process that it ever starts."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self._streams = (folder / f"{self.mark}.out", folder / f"{self.mark}.err")
        out, err = self._streams
        # Files, not pipes: an orphan that keeps a pipe open would make the test hang.
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                env={**os.environ, _MARK: self.mark},
            )
        self.pid = self.process.pid

    @property
    def stdout(self) -> str:
        return self._streams[0].read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        return self._streams[1].read_text(encoding="utf-8", errors="replace")

    def poll(self) -> int | None:
        return self.process.poll()

    def wait(self, limit_s: float = PATIENCE_S) -> int:
        """Exit code; no command may ever show a traceback."""
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {limit_s} s\n{self.stderr}") from None
        assert "Traceback" not in self.stderr, self.stderr
        return code

    def finishes(self, code: int = 0) -> None:
        """Wait for the end, which must have this exit code."""
        found = self.wait()
        assert found == code, f"exit code {found}\n{self.stdout}\n{self.stderr}"

    def send(self, number: signal.Signals, *, group: bool = True) -> None:
        """Send a signal to the run, or to its whole process group as a terminal does."""
        if self.poll() is None:
            (os.killpg if group else os.kill)(self.pid, number)

    def kill(self) -> bool:
        """Kill -9 the whole process group; whether it was still running."""
        alive = self.poll() is None
        self.send(signal.SIGKILL)
        self.process.wait(10)
        return alive

    def children(self) -> list[psutil.Process]:
        """Worker processes below the run."""
        try:
            found = psutil.Process(self.pid).children(recursive=True)
            return [c for c in found if "resource_tracker" not in " ".join(c.cmdline())]
        except psutil.Error:
            return []

    def processes(self) -> list[psutil.Process]:
        """Every process that the command started, whatever its parent is now."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get(_MARK) == self.mark
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def leaves_no_process(self, within_s: float = 5.0) -> None:
        """All processes are gone, or go within a moment."""
        until(lambda: not self.processes(), limit_s=within_s, every_s=0.1)

    def end(self) -> None:
        """Kill whatever is left."""
        self.kill()
        for process in self.processes():
            process.kill()


Start = Callable[[Sequence[str]], Run]


def build_command(recipe: Path, raw: Path, out: Path, *options: object) -> list[str]:
    """`uls-data build` as a user would call it."""
    command = [sys.executable, "-m", "uls_data", "build", str(recipe)]
    return [*command, "--raw", str(raw), "--out", str(out), *map(str, options)]


@dataclass(frozen=True)
class Here:
    """A command that ran in this process; what `Run` is for one that must be killed or stopped."""

    code: int
    stdout: str
    stderr: str

    def finishes(self, code: int = 0) -> None:
        """It ended with this exit code."""
        assert "Traceback" not in self.stderr, self.stderr
        assert self.code == code, f"exit code {self.code}\n{self.stdout}\n{self.stderr}"


def here(command: Sequence[str]) -> Here:
    """Run a command of `build_command` in this process, without workers.

    The starts of interpreters take longer than small builds, and the files are the same for any
    number of workers: this is for the runs around the one that a test is about.
    """
    words = list(command[3:])
    if "--workers" in words:
        at = words.index("--workers")
        del words[at : at + 2]
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([*words, "--workers", "0"])
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Here(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Archive:
    """A raw archive, and what an undisturbed build makes of it.

    Attributes
    ----------
    raw, recipe : Path
    code : int
        Exit code of the undisturbed build.
    tree : dict of str to bytes
    start_s : float
        Until the first VOI appeared.
    """

    raw: Path
    recipe: Path
    code: int
    tree: dict[str, bytes]
    start_s: float

    @property
    def vois(self) -> int:
        """Number of image and label files."""
        return sum(name.endswith(".nii.gz") for name in self.tree)

    def command(self, out: Path, *options: object) -> list[str]:
        """Command that builds it."""
        return build_command(self.recipe, self.raw, out, *options)


def stop_while_writing(run: Run, out: Path) -> list[Path]:
    """Stop the run (SIGSTOP) while it has a temporary file; returns those files."""
    while until(lambda: temporaries(out), run, every_s=0.001):
        run.send(signal.SIGSTOP)
        time.sleep(0.02)
        if found := temporaries(out):
            return found
        run.send(signal.SIGCONT)
    raise AssertionError("the run ended, and no temporary file was seen")
