from cnnkit.training.networks import create_model
