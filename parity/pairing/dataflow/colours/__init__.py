"""Which steps nothing tells apart: colour refinement, and the colours of a whole trace."""
