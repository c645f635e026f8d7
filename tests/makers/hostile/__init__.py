"""Hostile inputs, drawn from a seed."""
