"""The world outside AWS: private servers and a shop, for development and tests."""
