"""The simulated Finch behaves as the real one: Finch's own SDK works with it, and it follows Finch's documentation."""
