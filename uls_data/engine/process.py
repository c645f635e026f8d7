"""One worker process: a new interpreter, a pipe of its own, and the end of both.

It is given what to work with and never the program that started it, so a script needs no
`if __name__ == "__main__":` to use workers. What it says before it begins is kept: a worker that
cannot even begin is reported in one line.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from uls_data.engine.memory import keep_memory, limit_memory, trim_memory
from uls_data.engine.start import start_light
from uls_data.errors import SourceError

_STOPS = (signal.SIGINT, signal.SIGTERM)
_END_S = 5.0
_MOST_SAID = 1 << 16
# By this a worker is known among the processes of a machine.
_START = (
    "import sys; sys.path[:] = {path!r}; from uls_data.engine.process import serve; "
    "serve({pipe}, {life}, {stderr})"
)


class DeadWorkerError(Exception):
    """The worker is gone, and with it the result of its task."""


class Here:
    """First word of a worker; a class, for it is the same thing on both ends of a pipe."""


class Worker:
    """A worker process, from this side.

    Parameters
    ----------
    function : callable
        Picklable, from a module that can be imported.
    limit_bytes : int
        Memory that it may take.

    Attributes
    ----------
    pipe : Connection
        Ready when there is a result.
    here : bool
        Whether it has begun.

    Raises
    ------
    OSError
        The machine starts no further process.
    """

    here = False

    def __init__(self, function: Callable[[Any], Any], limit_bytes: int) -> None:
        work = pickle.dumps((function, limit_bytes))  # what cannot be sent starts no process
        self.pipe, theirs = Pipe()
        # Nobody else holds its other end: it closes when this process ends, however it does.
        life, self._life = os.pipe()
        stderr = _duplicate(2)
        handed = [fd for fd in (theirs.fileno(), life, stderr) if fd is not None]
        path = [entry or str(Path.cwd()) for entry in sys.path]
        code = _START.format(path=path, pipe=theirs.fileno(), life=life, stderr=stderr)
        try:
            with _stops_held():
                self._process = subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=handed,
                )
        except OSError:
            self.pipe.close()
            os.close(self._life)
            raise
        finally:
            theirs.close()
            for fd in handed[1:]:
                os.close(fd)
        with suppress(OSError):
            self.pipe.send_bytes(work)

    def begin(self, task: Any) -> None:
        """Hand over a task."""
        # If it is dead already, the result says so.
        with suppress(OSError):
            self.pipe.send(task)

    def result(self) -> Any:
        """Wait for the result of the task, or for `Here`, once before the first one.

        Raises
        ------
        DeadWorkerError
        Exception
            What the function raised.
        """
        try:
            worked, result = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise DeadWorkerError from error
        if not worked:
            raise result
        return result

    def never_began(self) -> bool:
        """Whether a dead worker ended of itself (nobody killed it) before its first word."""
        if self.here:
            return False
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        code = self._process.returncode
        return code is not None and code >= 0

    def last_words(self) -> str:
        """Line of what a worker said before it began: the error that ended it."""
        stderr = self._process.stderr
        assert stderr is not None
        os.set_blocking(stderr.fileno(), False)
        text = (stderr.read(_MOST_SAID) or b"").decode(errors="replace")
        lines = [line.strip() for line in reversed(text.splitlines()) if line.strip()]
        return next((line for line in lines if "rror" in line), lines[0] if lines else "nothing")

    def dismiss(self) -> None:
        """Let it end in its own time: it has no task."""
        self.pipe.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self.pipe.close()

    def join(self) -> None:
        """Wait until it is gone."""
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        os.close(self._life)


def _duplicate(fd: int) -> int | None:
    """Another number of an open file; None where it is closed."""
    with suppress(OSError):
        return os.dup(fd)
    return None


@contextmanager
def _stops_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while a process starts; they are answered afterwards.

    A new interpreter would answer them with a traceback of its own: it inherits the
    mask. Here another thread may still receive them, so they are kept, too.
    """
    kept: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {n: signal.signal(n, lambda number, _: kept.append(number)) for n in _STOPS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for one in kept:
            signal.raise_signal(one)


def serve(pipe_fd: int, life_fd: int, stderr_fd: int | None) -> None:
    """Work off tasks until the other end closes; what a worker process runs.

    Parameters
    ----------
    pipe_fd : int
        Its end of the pipe: first comes the function with its limit of memory, then tasks.
    life_fd : int
        Closed when the process that started it ends.
    stderr_fd : int or None
        Standard error of that process.
    """
    # Ctrl-C reaches the whole group: it is answered once, by the process that started us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    threading.Thread(target=_end_with_parent, args=(life_fd,), daemon=True).start()
    # If memory runs out anyway, a worker shall die, not the run.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    start_light()
    pipe = Connection(pipe_fd)
    try:
        function, limit_bytes = pipe.recv()
    except (EOFError, OSError):
        return
    except Exception as error:
        said = f"a worker process cannot load its work: {type(error).__name__}: {error}"
        with suppress(OSError):
            pipe.send((False, SourceError(said)))
        return
    limit_memory(limit_bytes)
    keep_memory()
    if stderr_fd is not None:
        os.dup2(stderr_fd, 2)
        os.close(stderr_fd)
    with suppress(OSError):
        pipe.send((True, Here))
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        answer: tuple[bool, Any]
        try:
            answer = True, function(task)
        except Exception as error:
            answer = False, _sendable(error)
        del task
        try:
            pipe.send(answer)
        except OSError:
            return
        del answer
        trim_memory()


def _end_with_parent(life_fd: int) -> None:
    os.read(life_fd, 1)
    os._exit(1)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return SourceError(f"{type(error).__name__}: {error}")
    return error
