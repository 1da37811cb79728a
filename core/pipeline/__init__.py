"""One file per stage; a stage takes (session, inputs, now) and leaves the commit to its caller."""
