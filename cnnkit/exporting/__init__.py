"""From a PyTorch network to one self-describing ONNX file, with proof that the two are the same."""
