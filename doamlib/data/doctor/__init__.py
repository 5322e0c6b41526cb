"""Room data.doctor."""
