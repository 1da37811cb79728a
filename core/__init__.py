"""What is true: goals, events, tables and stages."""
