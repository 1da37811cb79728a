"""A simulation of banks: how often amounts and closes stay wrong, since most bookings have only a date."""
