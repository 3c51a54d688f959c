"""Words that occur nowhere else, one for each place a secret or a payload can be in, so that a leak names its place."""

import base64
import os
import secrets


class Canaries:
    """A word for each slot that is asked for; the same slot has the same word."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def __getitem__(self, slot: str) -> str:
        return self._words.setdefault(slot, f"canary{secrets.token_hex(8)}")

    def webhook_secret(self, slot: str) -> str:
        """A signing key, whose base64 is the word."""
        word = self._words.setdefault(slot, base64.b64encode(os.urandom(32)).decode())
        return f"whsec_{word}"

    def leaked(self, text: str, slots: set[str] | None = None) -> set[str]:
        """The slots, or those of `slots`, whose word is in `text`."""
        return {slot for slot, word in self._words.items() if word in text and (slots is None or slot in slots)}

    def __len__(self) -> int:
        return len(self._words)
