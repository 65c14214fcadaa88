"""The same pair run otherwise: in later calls and modes, and as the models are held."""
