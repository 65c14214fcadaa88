"""Equal pairs that rounding pulls far apart: each network is written in two forms, one for each side."""
