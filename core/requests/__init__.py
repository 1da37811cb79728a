"""One file per act a caller may ask for; an act takes (session, inputs, now) and leaves the commit to its caller."""
