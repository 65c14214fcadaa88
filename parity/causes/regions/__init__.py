"""The steps between the last tensors that agree and the first that do not: what they are, and what changed there helps."""
