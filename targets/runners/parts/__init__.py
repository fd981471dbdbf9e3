"""Parts of runners: shared ones, and those that would make a runtime's own file too long."""
