"""What is measured on masks and lines: axes, sizes, overlap, surface, shape."""
