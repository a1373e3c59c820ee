"""What a user runs: one script per job, and the command `psaflow` that names them."""
