"""What a layer with a kernel computed, identified from its input and result, and the causes that tell two apart."""
