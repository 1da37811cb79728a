"""PostgreSQL and Valkey from Python wheels, and the supervisor that runs them and all processes of Milepost."""
