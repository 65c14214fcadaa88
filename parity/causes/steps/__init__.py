"""What one step without weights did, identified from a tensor and its result, and the causes that tell two apart."""
