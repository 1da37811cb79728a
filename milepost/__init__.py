"""The face: the command line, the embedded servers and the Python interface."""
