"""`nurture console` with the pages of a folder added: `python -m tests.console.serve_with_pages FOLDER ARGUMENT...`."""

import sys

from nurture.cli import main
from nurture.console import pages

if __name__ == "__main__":
    pages.__path__.append(sys.argv[1])
    main(["console", *sys.argv[2:]])
