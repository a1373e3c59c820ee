"""Build configurations that ship with psaflow."""
