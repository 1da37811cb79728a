"""The demo: a few people, their accounts and goals, two years of their money, and a trickle that goes on."""
