"""What asks for float32 while a model is judged in float64: noted, and lifted to float64 where that is asked for."""
