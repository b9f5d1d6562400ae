"""Training and evaluation on PyTorch: data sets, augmentation, the loop, checkpoints."""
