"""The `energy` command: the local stack, the demo fleet, and what else is typed at a prompt."""
