"""Made-up raw archives in the sources' native layouts, for `make demo` and the tests.

Nothing here reads an archive, and nothing is shared with the code that does: a
mistake in one cannot hide the same mistake in the other. All scans are computed
from a seed, all names are invented.
"""
