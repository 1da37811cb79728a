"""The types of messages and their JSON, and the messages that are about no goal."""
