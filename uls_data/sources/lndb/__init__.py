"""LNDb: volumes, masks of several readers, tables of findings."""
