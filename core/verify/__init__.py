"""The second way: what is stored, held against the facts in SQL that shares no code with the rest of core."""
