"""What `milepost status` learns of an installation, and how it shows it."""
