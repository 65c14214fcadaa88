"""How the calls of layers are shown: what goes in, what comes out, and what of it both frameworks have."""
