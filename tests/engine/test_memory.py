"""What a worker keeps of freed memory: that of a usual scan, and no more."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

KEEP = """
import json, resource
import numpy as np
from uls_data.engine.memory import keep_memory, trim_memory

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() >> 20

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_memory()
before = resident_mib()
for mib in (400, 84):
    scan = [np.ones(mib << 20, np.uint8), np.ones(mib << 19, np.uint8)]
    seen = resident_mib() - before
    del scan
    trim_memory()
    print(json.dumps([seen, resident_mib() - before]))
at = faults()
scan = np.ones(84 << 20, np.uint8)
print(json.dumps(faults() - at))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the C library of GNU")
def test_memory_of_a_usual_scan_stays_and_that_of_a_large_one_goes() -> None:
    done = subprocess.run([sys.executable, "-c", KEEP], capture_output=True, text=True, check=True)
    (large, rest), (usual, kept), faults = map(json.loads, done.stdout.splitlines())
    assert large > 590 and rest < 384
    assert usual > 120 and kept > 80
    assert faults < 50  # 20,480 pages, or 42 huge ones
