"""Running exported networks on onnxruntime. PyTorch is never imported here."""
