"""All that measures Milepost, and what it is compared with. Not installed, and imported by nothing that is."""
