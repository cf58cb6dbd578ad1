"""The words and rules of the domain: no I/O. Imports nothing but itself and the standard library."""
