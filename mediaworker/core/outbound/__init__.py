"""From what a leg is to hear to the packets of a tick."""
