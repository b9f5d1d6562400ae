"""Results to tables, plots and JSON: the only part of cnnkit that prints. It computes nothing."""
