"""Who may use the simulated plugs' broker: a plugin of amqtt, imported by it."""

from __future__ import annotations

from dataclasses import dataclass, field

from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session


class Users(BaseAuthPlugin):  # type: ignore[misc]
    """Lets in whoever gives one of the names with its password."""

    async def authenticate(self, *, session: Session) -> bool:
        """Tell whether they belong together."""
        users = self._get_config_option("users", {})
        return session.username is not None and users.get(session.username) == session.password

    @dataclass
    class Config:
        """Settings: name → password."""

        users: dict[str, str] = field(default_factory=dict)
