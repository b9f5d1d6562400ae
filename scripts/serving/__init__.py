"""What `bench_serve.py` and `soak_serve.py` share: servers as processes, load on raw connections, and tables."""
