"""The verbs of the command `pbrl`, one module each with a function `main(arguments)`."""
