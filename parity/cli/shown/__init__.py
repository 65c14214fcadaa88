"""What a person reads: findings and summaries on a terminal, and errors in one line."""
