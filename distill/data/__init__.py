"""Data: windows on disk, batches by length, the data module."""
