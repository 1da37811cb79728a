"""The enumerations that callers name goals with."""
