"""The gateway process: one ASGI app in front of the providers. `answer.py` is the path of a call, top to bottom."""
