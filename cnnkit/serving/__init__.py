"""The HTTP server for exported networks: protocols, dynamic batching, admission, hot reload. Never PyTorch."""
