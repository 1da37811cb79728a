"""The arithmetic of goals: values in, values out. No clock, no SQL, no network, no environment."""
