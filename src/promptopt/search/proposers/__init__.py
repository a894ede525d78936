"""Where candidates come from: the grammar of the space, crossover, a language model's reflection, a file."""
