"""Arrays of a manifest's columns, as Arrow itself would make them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from uls_data.manifest.arrays import arrow_array, arrow_scalar, numpy_values
from uls_data.manifest.schema import arrow_schema

_SCORE = {"candidate": "ellipse", "measure": "dice", "value": 0.5}
_VALUES = {
    "source": ["", "é\u4e2d", None, "x" * 300],
    "sample_index": [-(1 << 31), None, (1 << 31) - 1],
    "volume_mm3": [1, None, -0.0, float("inf"), 1e-320],
    "redistributable": [True, None, False] * 7,
    "qc_flags": [[], None, ["a", None, "b"]],
    "recist_points_vox": [[0.1, None], [], None, [3]],
    "affine": [[0.1] * 16, None, [None] * 15 + [1]],
    "candidate_scores": [[_SCORE, None, {"candidate": "x"}], None, []],
}


@pytest.mark.parametrize("column", _VALUES)
def test_equal_to_arrows_own(column: str) -> None:
    kind = arrow_schema().field(column).type
    for values in (_VALUES[column], _VALUES[column][:1], [None, None], []):
        made = arrow_array(values, kind)
        made.validate(full=True)
        assert made.equals(pa.array(values, kind))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("source", 3),
        ("source", "\ud800"),
        ("sample_index", 1 << 31),
        ("sample_index", 2.5),
        ("sample_index", "2"),
        ("sample_index", True),
        ("volume_mm3", "2"),
        ("redistributable", 1),
        ("qc_flags", "abc"),
        ("qc_flags", [1]),
        ("affine", [1.0] * 15),
        ("candidate_scores", [("a", "b", 0.5)]),
    ],
)
def test_what_does_not_fit_is_refused(column: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        arrow_array([None, value], arrow_schema().field(column).type)


@pytest.mark.parametrize("kind", [pa.bool_(), pa.int32(), pa.int64(), pa.float64()])
@pytest.mark.parametrize("start", [0, 3, 9])
def test_numpy_values_are_arrows_own(kind: pa.DataType, start: int) -> None:
    some = [value if kind != pa.bool_() else value % 3 == 0 for value in range(21)]
    for values in (some, [*some, None, *some], []):
        array = pa.array(values, kind)[start:]
        filled = array.fill_null(arrow_scalar(kind.to_pandas_dtype()(0).item(), kind))
        for given in (array, pa.chunked_array([array[:5], array[5:]])):
            found = numpy_values(given)
            assert np.array_equal(found, np.array(filled.to_pylist(), found.dtype))
            assert found.dtype == kind.to_pandas_dtype()


def test_pandas_is_not_loaded_to_write_a_manifest(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from uls_data.manifest.parquet import *; "
        "write_manifest([{'source': 's', 'case_id': 'c', 'lesion_index': 1, 'sample_index': 0, "
        "'layer': 'annotated', 'affine': [1.0] * 16}], Path(sys.argv[1])); "
        "assert 'pandas' not in sys.modules and 'pyarrow' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.parquet")], check=True)
