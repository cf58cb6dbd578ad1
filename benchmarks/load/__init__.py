"""Load test on the local stack: many people at once, with or without faults, and an account of every flow."""
