"""What the Vitis AI runner is made of."""
