"""What an attention computed, identified from its operands and result, and the causes that tell two apart."""
