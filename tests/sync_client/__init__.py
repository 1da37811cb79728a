"""Development only: generates milepost/sync from milepost/client, so that nothing is written twice."""
