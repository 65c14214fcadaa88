"""Which Keras layer computes what a layer of torch.nn does, with the source's own expressions as settings."""
