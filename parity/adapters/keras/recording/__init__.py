"""What a Keras model does, recorded: every layer and operation of one symbolic call, scope by scope."""
