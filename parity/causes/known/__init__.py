"""What is told of each known cause beyond its row of the table: its fix on either side, and its picture."""
