"""Fault tests: each step fails in turn, and the tests check the person's answer, the token and the event."""
