"""What a recurrent cell computed along a sequence, identified from its results, and the causes that tell two apart."""
