"""Keys of rows, looked up among millions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from uls_data.passports.keys import Index, words

# Spread evenly as hashes are, all beside each other, and all with the same leading bits.
_KEYS = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(0, 200), st.integers(2**63, 2**63 + 200)
).map(np.uint64)
_LISTS = st.lists(_KEYS, max_size=150).map(lambda keys: np.array(keys, np.uint64))


@given(st.lists(_LISTS, max_size=3), _LISTS)
def test_index_finds_what_is_there(parts: list[np.ndarray], others: np.ndarray) -> None:
    held = np.concatenate([np.empty(0, np.uint64), *parts])
    asked = np.concatenate([others, held, held + np.uint64(1)])
    index = Index(list(parts))
    assert len(index) == len(set(held.tolist()) - {0})
    expected = np.isin(asked, held) & (asked != 0)
    np.testing.assert_array_equal(index.has(asked), expected)


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=30), st.integers(0, 30))
def test_words_have_one_key_however_they_are_stored(texts: list[str | None], at: int) -> None:
    plain = pa.chunked_array([texts], pa.string())
    coded = pa.chunked_array(
        [pa.array(part, pa.string()).dictionary_encode() for part in (texts[:at], texts[at:])],
        pa.dictionary(pa.int32(), pa.string()),
    )
    keys = words(plain)
    np.testing.assert_array_equal(words(coded), keys)
    assert [key == 0 for key in keys] == [text is None for text in texts]
    assert len(set(keys.tolist())) == len(set(texts))
