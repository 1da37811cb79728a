"""The system of a run: servers, processes and links of its own, as the product runs them, in one folder."""
