"""One module or folder per database."""
