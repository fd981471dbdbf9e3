"""What several simulated instruments share: lines to listen at, time, loads, what is measured, misbehaviour."""
