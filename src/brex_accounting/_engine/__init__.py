"""The call: retries, what a response means, and limits."""
