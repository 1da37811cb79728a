"""The demo: a few people, their accounts and goals, two years of events, and new events every few seconds."""
