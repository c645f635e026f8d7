"""Stage 5: rows to Parquet, and what one asks of them."""

from uls_data.manifest.parquet import load_manifest, read_table, write_manifest

__all__ = ["load_manifest", "read_table", "write_manifest"]
