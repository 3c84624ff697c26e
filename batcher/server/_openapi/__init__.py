"""The OpenAPI document of the server, made of what it checks."""
