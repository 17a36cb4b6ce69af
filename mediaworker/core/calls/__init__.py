"""Calls: opened, led and ended; who has the floor, what the agent says, which workers serve them."""
