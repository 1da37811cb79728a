"""What closing days and late facts cost."""
