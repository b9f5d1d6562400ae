"""The Open Inference Protocol: tensors, requests, responses and documents."""
