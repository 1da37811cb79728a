"""What a caller may do; each resource has a module. An operation takes (session, inputs, now); its caller commits."""
