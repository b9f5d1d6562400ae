"""Models that run in batches."""
