"""torch.nn.functional in keras.ops: what a port carries with it where a forward pass calls functions."""
