"""Room simulation.scenes."""
