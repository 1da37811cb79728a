"""The seeded load: who there is, what is told of them, by which door it comes in, and what was answered."""
