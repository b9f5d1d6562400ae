"""How well a network does on a data set, and where it is wrong."""
