"""The stack past this machine: published quotas and prices, the work of one connection, and what follows from both."""
