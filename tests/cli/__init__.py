"""What an operator relies on: alarms, runbook, metrics, and the logs they speak of."""
