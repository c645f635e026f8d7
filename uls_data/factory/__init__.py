"""Build a source: raw data in, VOIs and a manifest out."""

from uls_data.factory.run import BuildReport, build

__all__ = ["BuildReport", "build"]
