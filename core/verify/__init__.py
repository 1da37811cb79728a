"""The audit: computes what is stored a second time from the facts, in SQL that shares no code with the rest of core."""
