"""The REST API: authentication, routes, and how requests and answers are written."""
