"""Formats of raw archives, a folder each: what its cases are, and what lesions they hold."""
