"""The documented Python interface, asynchronous. milepost.sync is made from these files: the same names, blocking."""
