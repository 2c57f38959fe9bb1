"""What is known before the first call: providers, prices, tokenizers and the simulated models, as data."""
