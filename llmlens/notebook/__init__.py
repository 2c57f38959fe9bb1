"""The IPython side: the extension, its magics, which cell is running, and how answers look.

Nothing here is imported by `import llmlens`; `%load_ext llmlens` imports `extension`.
"""
