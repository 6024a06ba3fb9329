"""What the VTN says of its ways to tell: webhooks always, MQTT where the settings name a broker for clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings


def binding() -> dict[str, Any]:
    """Return the answer to ``GET /notifiers``."""
    found: dict[str, Any] = {"WEBHOOK": True}
    if settings.VTN_MQTT_URIS:
        found["MQTT"] = {
            "URIS": list(settings.VTN_MQTT_URIS),
            "serialization": "JSON",
            "authentication": _authentication(),
        }
    return found


def _authentication() -> dict[str, str]:
    if all(uri.startswith("mqtt://") for uri in settings.VTN_MQTT_URIS):
        return {"method": "ANONYMOUS"}
    # The client's own pair was given to it with its registration; it is not sent around.
    authority = Path(settings.BROKER_CA).read_text() if settings.BROKER_CA else ""
    return {"method": "CERTIFICATE", "caCert": authority, "clientCert": "", "clientKey": ""}
