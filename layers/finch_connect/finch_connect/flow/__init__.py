"""What happens to a flow, step by step, and the ports through which it happens. Imports domain and config."""
