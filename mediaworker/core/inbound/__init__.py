"""From datagrams to what the caller says: sources, numbers, time line, playout, concealment."""
