"""How fast events are applied, and what that is compared with."""
