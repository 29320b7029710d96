"""What a run reports: pure functions from models, scores and timings to plain data and tables."""
