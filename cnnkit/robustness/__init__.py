"""How easily a network is fooled: corruptions, attacks, fooling images."""
