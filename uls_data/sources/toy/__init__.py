"""NumPy arrays in pairs: the smallest format that there can be."""
