"""PurdueShapes5MultiObject."""
