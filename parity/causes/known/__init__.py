"""What each known cause has beyond its row of the table: its fix on either side, and its picture."""
