"""A model of the stack on AWS: limits and cost, from published quotas and prices and the work of one connection."""
