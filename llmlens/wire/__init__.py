"""Wire formats: pure functions between bytes and `records`. No I/O, no clock, no randomness.

All of them stand in `dialects`, which a kernel that only needs `headers` does not load.
"""
