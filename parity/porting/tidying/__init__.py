"""Last repairs of a port's text: what nobody reads goes, and what is known is said."""
