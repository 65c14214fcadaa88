"""Parts of constructors: containers that grow, records of settings, parameters, computed tensors."""
