"""From torch to Keras: the source's own text, rewritten where the recorded run shows what it does."""
