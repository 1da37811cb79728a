"""What a caller may do, a module a resource. An operation takes (session, inputs, now); its caller commits."""
