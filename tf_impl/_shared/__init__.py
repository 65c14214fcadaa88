"""What both halves share: the same files, byte for byte, as in the other half."""
