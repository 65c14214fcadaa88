"""What parity knows: its pairs, its causes, its environment, and its own command line."""
