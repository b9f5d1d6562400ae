"""The processes of a server, their signals and their log."""
