"""Room simulation.optics."""
