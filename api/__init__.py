"""Who may ask: the REST layer."""
