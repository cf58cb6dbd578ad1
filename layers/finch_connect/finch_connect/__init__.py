"""Finch Connect by redirect, serverless: what the Lambda functions share.

The folders are layers, and imports point down: `wiring`; `web` and `adapters`; `observability` and `coldstart`; `flow`;
`config`; `domain`. The flow uses its ports, the adapters implement them, and only `wiring` imports both sides.
"""
