"""ONNX files that others exported: what they take, what they give, and what their classes are called."""
