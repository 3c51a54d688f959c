"""The rules, without Flask: the connection comes first, refusals are `app.problems`."""
