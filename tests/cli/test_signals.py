"""A signal that arrives in a callback of the garbage collector ends the command all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys, time, weakref
from uls_data import cli

class Thing: pass

def command(*_args, **_options):
    thing = Thing()
    weakref.finalize(thing, lambda: None)
    reference = weakref.ref(thing, lambda _: (os.kill(os.getpid(), signal.{name}), time.sleep(0)))
    del thing
    for _ in range(100):
        time.sleep(0.02)
    print("ran to its end")
    return 0

cli.cli.main = command
cli.main([])
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_in_a_callback_is_not_lost(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(name=name)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == {"SIGTERM": 143, "SIGINT": 130}[name], run.stderr
    assert "Traceback" not in run.stderr and "ran to its end" not in run.stdout
