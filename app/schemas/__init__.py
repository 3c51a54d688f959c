"""The shapes that come in and go out, as marshmallow says them; the OpenAPI document is made from these."""
