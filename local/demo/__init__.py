"""A SaaS team's app that integrates the stack, and `make demo`, which runs both."""
