"""Experiments on the log: the layer between the notebook and the client. Empty so far."""
