"""What the OpenVINO runner is made of."""
