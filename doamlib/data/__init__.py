"""Datasets: one typed sample, whatever the format on disk."""
