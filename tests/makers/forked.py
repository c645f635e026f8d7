"""Processes that may kill themselves, forked from one that loaded torch and did nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def forked(prepare: str, calls: Sequence[str]) -> str:
    """Run calls one after another, each in a process of its own; what they and we print.

    After each call stands a line with its exit code, such as `exit -9`. They are forked, as
    loading torch takes longer than training a small network, and from a new interpreter, as one
    that loaded other libraries before may round tiny numbers differently.

    Parameters
    ----------
    prepare : str
        Python that imports what calls need.
    calls : sequence of str
        Python.
    """
    code = f"""
import os, sys, traceback
import torch
torch.set_num_threads(1)
{prepare}
for call in {list(calls)!r}:
    sys.stdout.flush()
    process = os.fork()
    if not process:
        try:
            exec(call)
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print("exit", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    return result.stdout
