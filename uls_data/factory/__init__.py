"""Build a source: raw data in, VOIs and a manifest out."""

from uls_data.factory.build_report import BuildReport
from uls_data.factory.run import build

__all__ = ["BuildReport", "build"]
