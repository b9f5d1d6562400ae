"""Serving exported files over HTTP. Never imports PyTorch."""
