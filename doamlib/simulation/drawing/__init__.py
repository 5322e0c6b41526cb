"""Room simulation.drawing."""
