"""Data: windows and blocks on disk, batches of them, the data modules."""
