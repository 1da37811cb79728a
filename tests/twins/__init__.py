"""Development only: makes milepost/sync from milepost/face, so that the blocking face is not written a second time."""
