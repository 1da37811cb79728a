"""The seeded load: accounts and goals, events about them, how they are sent, and what was answered."""
