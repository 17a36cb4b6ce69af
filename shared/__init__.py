"""What every process of the farm has in common: identities, contracts, the bus, the registry, configuration.

It must not import any process package, and it knows nothing of SIP messages, RTP packets or models.
"""
