"""One page for each network, from a text, its two source files and what was measured."""
