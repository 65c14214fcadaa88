"""Steps of a torch pass, kept with what they were called with, and run again with one of them changed."""
