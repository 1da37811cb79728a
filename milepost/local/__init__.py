"""The manager's side of the Python face: acts in this process, on Postgres, with the rules of the REST interface."""
