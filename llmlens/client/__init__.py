"""The kernel's side: which cell runs, where the gateway is, calls and queries through it. Loads no library."""
