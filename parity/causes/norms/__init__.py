"""What a normalisation computed, identified from its input and result, and the causes that tell two apart."""
