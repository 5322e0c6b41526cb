"""Room simulation.items."""
