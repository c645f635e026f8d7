"""Download what a recipe pins: planned first, checked as it comes, whole or not at all."""
