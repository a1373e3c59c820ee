"""Training recipes that ship with psaflow."""
