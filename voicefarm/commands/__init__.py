"""One module per word of the command line: its arguments and what it does. Each gives `add(subparsers)`."""
