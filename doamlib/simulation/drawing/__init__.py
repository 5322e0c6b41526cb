"""Shapes by thickness: the canvas, outlines, solid primitives and textures."""
