"""The commands that write something of their own: a port, a weight file, a script."""
