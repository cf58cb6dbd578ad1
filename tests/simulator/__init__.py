"""The simulated Finch is worth what it shares with the real one: the contract, and Finch's own SDK."""
