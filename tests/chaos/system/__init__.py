"""The system that a run breaks: servers, processes and links of its own, as the product runs them, in one folder."""
