"""Post-call jobs: an RQ worker as a process of the farm. Never in the path of a live call."""
