"""HTTP: API Gateway's events in, pages and redirects out. Imports flow, config, domain and observability."""
