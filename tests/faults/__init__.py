"""What fails, at each step, and what becomes of the person, the token and the event."""
