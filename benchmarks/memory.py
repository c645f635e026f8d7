"""Peak memory of one worker on a large scan: 512 x 512 x 1000, int16, 20 lesions.

Run as `python -m benchmarks.memory`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.voi import call, last_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--lesions", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "raw"), Path(folder, "out")
        options = ["--lesions", str(arguments.lesions), "--slices", str(arguments.slices)]
        call("benchmarks.phantom", "--root", raw, *options)
        run = last_line(call("benchmarks.ours", "--raw", raw, "--out", out))
    megabytes = 512 * 512 * arguments.slices * 2 / (1 << 20)
    print(
        f"512 x 512 x {arguments.slices} int16 ({megabytes:.0f} MiB decoded), {run['vois']} VOIs: "
        f"{run['seconds']:.1f} s, peak {run['peak_mb']:.0f} MiB"
    )


if __name__ == "__main__":
    main()
