"""The laws that the first weights of both sides are drawn from: sampled, identified and compared."""
