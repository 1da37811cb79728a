"""When work runs: the Celery application and its tasks."""
