"""What the ONNX Runtime runner is made of."""
