"""The published archive as manifests: `python -m tools.published INDEX SPLIT --out D`.

INDEX is what `uls-data index annotations --out INDEX` makes of the folder `annotations` of the
repository DIAGNijmegen/oncology-ULS23, SPLIT its `baseline_model/train_test_split.json`. D
gets one manifest per source: measurements and hashes, no label. The same two files give the same
bytes, whatever version of this program measured them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from uls_data.auditing.checks import findings
from uls_data.auditing.inspection import flags_of, with_flags
from uls_data.errors import CaseError, ManifestError
from uls_data.manifest.archive import Names
from uls_data.manifest.by_axis import spacing_columns
from uls_data.manifest.parquet import iterate_rows, write_manifest
from uls_data.manifest.row import Row
from uls_data.outcome import Flag

_SAMPLE = "_sample_0"


def published(index: str | Path, split: str | Path, out: str | Path) -> list[Row]:
    """Write the manifests of the published archive, by source.

    Rows of the index get the released split as `source_split`, the flag `hand_corrected` where the
    file shows it (the 26 labels that were corrected have no fourth axis), and the flags of
    `audit`. Key slices of the split whose label was withdrawn count as held out too.

    Parameters
    ----------
    index : path
        Manifest of the whole archive, as `index` writes it.
    split : path
        JSON with the lists `train` and `test` of names.
    out : path
        Folder for `<source>.parquet`.

    Returns
    -------
    list of dict
        The rows, in the order of their keys.

    Raises
    ------
    ManifestError
        A label could not be read, or the split is not one.
    """
    sides = _sides(Path(split))
    rows = list(iterate_rows(Path(index)))
    failed = [row for row in rows if row["status"] != "ok"]
    if failed:
        raise ManifestError(
            f"{index}: {len(failed)} rows are not ok, the first {failed[0]['voi_id']} "
            f"({failed[0]['detail']}); expected an index of the whole archive without faults"
        )
    for row in rows:
        row["source_split"] = sides.get(str(row["voi_id"]).removesuffix(_SAMPLE))
    withdrawn = list(_withdrawn(sides, {str(row["voi_id"]) for row in rows}))
    flags = flags_of(len(rows) + len(withdrawn), findings([*rows, *withdrawn]))
    finished: dict[str, list[Row]] = defaultdict(list)
    for row, leaks in zip(rows, flags, strict=False):
        done = with_flags(row, leaks)
        if Flag.TRAILING_AXIS_DROPPED not in done["qc_flags"]:
            done["qc_flags"] = sorted([*done["qc_flags"], Flag.HAND_CORRECTED.value])
        # True of the program that measured, not of the label.
        done |= {"software_version": None, "recipe_version": None, "recipe_sha256": None}
        finished[done["source"]].append(done)
    for source, some in finished.items():
        write_manifest(some, Path(out) / f"{source}.parquet")
    return [row for some in finished.values() for row in some]


def _sides(path: Path) -> dict[str, str]:
    """`train` or `test` of every name of the released split."""
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): side for side in ("train", "test") for name in lists[side]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path}: not a split with lists train and test: {error!r}") from error


def _withdrawn(sides: dict[str, str], have: set[str]) -> Iterator[Row]:
    """Rows that stand for lesions of the split which have no label any more."""
    names = Names("auto")
    for voi_id, side in sides.items():
        if side == "train" or voi_id in have or voi_id + _SAMPLE in have:
            continue
        try:
            name = names.read(voi_id)
        except CaseError:
            continue  # of a source whose names end in `_sample_0`: it shares no scan with others
        assert name.recipe is not None
        yield {
            "series_instance_uid": None,
            "image_voxels_sha256": None,
            "label_voxels_sha256": None,
            "mask_voxels": None,
            "source_split": side,
            **spacing_columns(None),
            "source": name.recipe.source,
            "case_id": name.case_id,
            "patient_id": name.recipe.patient_of(name.case_id),
            "voi_id": voi_id,
            "status": "ok",
            "reason": None,
            "parent_layer": None,
            "layer": "annotated",
            "lesion_index": None,
            "sample_index": None,
            "split": "heldout",
        }


def main() -> None:
    """Run it, and print how many rows have which flag."""
    parser = argparse.ArgumentParser(description=published.__doc__)
    parser.add_argument("index", type=Path, help="manifest that `uls-data index` wrote")
    parser.add_argument("split", type=Path, help="train_test_split.json")
    parser.add_argument("--out", type=Path, required=True, help="folder, such as manifests/uls23")
    given = parser.parse_args()
    rows = published(given.index, given.split, given.out)
    flags = Counter(flag for row in rows for flag in row["qc_flags"])
    lines = [f"{len(rows)} rows", *(f"  {flag:24} {n}" for flag, n in sorted(flags.items()))]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
