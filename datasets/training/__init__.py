"""What both halves' training shares: recipe, order of the images, feeding, records of a run."""
