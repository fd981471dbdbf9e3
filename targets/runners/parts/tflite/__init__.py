"""What the runners over a TensorFlow Lite Interpreter share."""
