"""Scans and the lines that people drew on them: tables, and files of viewers."""
