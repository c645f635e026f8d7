"""Download what a recipe pins: planned first, checked as it comes, whole or not at all."""

from uls_data.fetching.downloading import FetchReport, fetch

__all__ = ["FetchReport", "fetch"]
