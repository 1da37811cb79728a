"""PostgreSQL and Valkey from Python wheels, and the supervisor that runs all of Milepost beside them."""
