"""Steps of TensorFlow computed in float64 from others, where TensorFlow itself has them in float32 alone."""
