"""The farm's command line: starts a farm, calls it, watches it. Imports the process packages; nothing imports it."""
