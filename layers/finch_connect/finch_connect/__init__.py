"""Finch Connect by redirect, serverless: the flow, its ports, and the adapters that the Lambda functions share.

Arrows go one way: function -> flow -> ports <- adapters; only `wiring` knows both sides.
"""
