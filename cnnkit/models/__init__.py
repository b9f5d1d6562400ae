"""The networks: torch.nn only, one family a file. Each factory takes the number of classes."""
