"""What both halves' export shares."""
