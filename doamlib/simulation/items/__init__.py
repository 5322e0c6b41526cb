"""What is in a suitcase: cutters, look-alike tools, electronics, everyday things, containers."""
