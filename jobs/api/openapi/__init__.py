"""The API as OpenAPI has it, by drf-spectacular, which the extra `openapi` installs."""
