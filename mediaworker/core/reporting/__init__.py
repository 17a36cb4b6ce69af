"""RTCP, and how a call sounds: reports, extended reports, the E-model, timeouts."""
