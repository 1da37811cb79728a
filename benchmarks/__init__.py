"""The measurements of Milepost, and what it is compared with. Not installed, and no installed module imports it."""
