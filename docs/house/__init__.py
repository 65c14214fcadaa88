"""The house in figures and as a picture: its rooms, its floors, and which way the imports run."""
