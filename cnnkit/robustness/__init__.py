"""How little it takes to fool a network: corruptions, attacks, fooling images."""
