"""Run cells in a new kernel: a JSON list of sources on stdin, a JSON list of what each printed on stdout.

A process of its own, because nbclient leaves event loops open, which the tests treat as errors.
"""

import json
import sys

import nbformat
from nbclient import NotebookClient


def main() -> None:
    sources = json.load(sys.stdin)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=120).execute()
    printed = ["".join(o.get("text", "") for o in cell.outputs if o.get("name") == "stdout") for cell in notebook.cells]
    json.dump(printed, sys.stdout)


if __name__ == "__main__":
    main()
