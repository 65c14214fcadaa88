"""In which order Keras holds the axes of a torch tensor, and what each step does to that order. No framework is needed."""
