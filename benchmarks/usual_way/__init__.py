"""The usual way: one Celery task for each event, which loads, changes and commits objects of an ORM."""
