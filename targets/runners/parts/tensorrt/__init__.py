"""What the TensorRT runner is made of."""
