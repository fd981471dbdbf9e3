"""What the HailoRT runner is made of."""
