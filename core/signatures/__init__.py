"""How deliveries are signed: one scheme a file, pure; and how the secrets of it are sealed for the database."""
