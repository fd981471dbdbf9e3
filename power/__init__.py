"""What measures power: meters, traces, clock alignment, idle subtraction, uncertainty."""
