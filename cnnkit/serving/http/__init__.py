"""HTTP/1.1 on one event loop: connections, requests, responses, and who may ask."""
