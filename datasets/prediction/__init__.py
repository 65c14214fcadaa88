"""What both halves' prediction shares: pictures in, decisions, files and figures out."""
