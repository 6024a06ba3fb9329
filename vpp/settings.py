"""Django settings, one file driven by environment variables (see docs/settings.md).

A value that is missing or out of range stops the start with the variable's name and what is
accepted; nothing falls back silently.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from sites.core.key_ring import MAX_KEYS
from sites.mqtt.address import BrokerAddress, BrokerAddressError
from sites.observability.endpoint import Address, ObservabilityAddressError
from vpp import environment

BASE_DIR = Path(__file__).resolve().parent.parent
environment.load_env_file(Path(os.environ.get("VPP_ENV_FILE", BASE_DIR / ".env")))

# --- the web process -------------------------------------------------------------------------
SECRET_KEY = environment.text("VPP_SECRET_KEY", min_length=32)
DEBUG = environment.flag("VPP_DEBUG", False)
ALLOWED_HOSTS = environment.hosts("VPP_ALLOWED_HOSTS", "127.0.0.1,localhost")
if DEBUG and not set(ALLOWED_HOSTS) <= environment.LOOPBACK_HOSTS:
    # Its error pages show source, settings and local variables to whoever asks.
    raise ImproperlyConfigured("VPP_DEBUG is on, accepted: only while VPP_ALLOWED_HOSTS is 127.0.0.1, localhost, ::1")
# Cookies are marked secure unless the pages are served without TLS on loopback, as the demo does.
SECURE_COOKIES = environment.flag("VPP_SECURE_COOKIES", False)
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
RUNTIME_DIR = Path(environment.text("VPP_RUNTIME_DIR", str(BASE_DIR / "var"))).absolute()

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "oauth2_provider",
    "channels",
    "sites.ledger",
    "sites.registry",
    "sites.identity",
    "sites.metering",
    "markets",
    "markets.openadr.vtn3",
    "carbon",
    "vpp.dispatch",
    "vpp.console",
]
MIDDLEWARE = [
    "vpp.console.middleware.measure",
    "markets.openadr.vtn3.problems.as_problems",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "vpp.console.middleware.keep_out_of_caches",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "vpp.console.middleware.refuse_nul",
]
ROOT_URLCONF = "vpp.urls"
ASGI_APPLICATION = "vpp.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "connect-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
    }
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["vpp.parsing.JsonBody"],
    "DEFAULT_PAGINATION_CLASS": "vpp.pagination.CursorPages",
    "PAGE_SIZE": 100,
    "DEFAULT_SCHEMA_CLASS": "vpp.openapi.DescribedView",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Open VPP",
    "VERSION": "1",
    "PREPROCESSING_HOOKS": ["vpp.openapi.only_version_1"],
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "vpp.openapi.with_refusals"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
STATIC_URL = "/static/"
STATIC_ROOT = RUNTIME_DIR / "static"
# Filled by `make install` from the npm lock file; ignored by git.
FRONTEND_DIR = BASE_DIR / "build" / "frontend"
STATICFILES_DIRS = [("vendor", FRONTEND_DIR)] if FRONTEND_DIR.is_dir() else []
# Pages come from the finders directly, so that no collectstatic step stands between clone and page.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# --- the database ----------------------------------------------------------------------------
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
_database_url = environment.text("DATABASE_URL", f"sqlite:///{RUNTIME_DIR / 'vpp.sqlite3'}")
try:
    _database: Any = dj_database_url.parse(_database_url, conn_max_age=600, conn_health_checks=True)
except (ValueError, KeyError):
    _database = {}
if _database.get("ENGINE") not in {"django.db.backends.sqlite3", "django.db.backends.postgresql"}:
    raise ImproperlyConfigured(
        "DATABASE_URL is not an accepted address, accepted: sqlite:///path or postgresql://user:password@host:port/name"
    )
if _database["ENGINE"] == "django.db.backends.sqlite3":
    # Several processes write: WAL and immediate transactions; with Django's defaults 47-89 % of
    # concurrent transactions met "database is locked".
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL",
    }
DATABASES: dict[str, Any] = {"default": _database}

# --- proxies before the pages ------------------------------------------------------------------
TRUSTED_PROXIES = environment.networks("VPP_TRUSTED_PROXIES")
"""Who may say, by X-Forwarded-For and -Proto, for whom it asks; whoever else says so is not believed."""

# --- the wire --------------------------------------------------------------------------------
BROKER = environment.url("VPP_BROKER_URL", "mqtt://127.0.0.1:1883", ("mqtt", "mqtts"))
try:
    BrokerAddress.of(BROKER).require_closed(open_allowed=environment.flag("VPP_OPEN_BROKER", False))
except BrokerAddressError as error:
    raise ImproperlyConfigured(f"VPP_BROKER_URL: {error}") from None
HOST_ID = environment.text("VPP_HOST_ID", "vpp")
SIGNING_KEYS = environment.keys_hex("VPP_SIGNING_KEY", MAX_KEYS)
"""Ed25519 seeds that sign assignments, each site's by the first that it takes; sites hold only the public halves. Empty
in the processes that sign nothing: only those that do are given them."""
MAX_PAYLOAD_BYTES = environment.whole("VPP_MAX_PAYLOAD_BYTES", 1_000_000, 1_000, 16_000_000)
ASK_MISSING_AFTER_S = environment.number("VPP_ASK_MISSING_AFTER_S", 30.0, 0.1, 86_400.0)
MAX_CLOCK_AHEAD_S = environment.number("VPP_MAX_CLOCK_AHEAD_S", 60.0, 0.0, 86_400.0)
"""A payload stamped further in the future than this is refused."""
INGEST_BATCH_S = environment.number("VPP_INGEST_BATCH_S", 0.25, 0.01, 10.0)
INGEST_BATCH_ROWS = environment.whole("VPP_INGEST_BATCH_ROWS", 5_000, 1, 100_000)
SITE_MESSAGES_PER_S = environment.number("VPP_SITE_MESSAGES_PER_S", 200.0, 0.1, 100_000.0)
SITE_BYTES_PER_S = environment.number("VPP_SITE_BYTES_PER_S", 1_000_000.0, 1_000.0, 1e9)
SITE_BIRTHS_PER_MIN = environment.number("VPP_SITE_BIRTHS_PER_MIN", 30.0, 1.0, 100_000.0)
SITE_REFUSALS_PER_MIN = environment.number("VPP_SITE_REFUSALS_PER_MIN", 120.0, 1.0, 1e7)
SITE_BURST_S = environment.number("VPP_SITE_BURST_S", 60.0, 1.0, 3_600.0)
"""Budgets of one site, which may be saved up for so long; who overdraws one is cut off."""
QUARANTINE_QUIET_S = environment.number("VPP_QUARANTINE_QUIET_S", 60.0, 1.0, 86_400.0)
"""A site that kept to its budgets for this long is heard again."""
READING_DAYS = environment.whole("VPP_READING_DAYS", 7, 1, 3_650)
"""``manage.py prune_readings`` deletes readings received longer ago; numbered data is never deleted."""
ROLL_UP_DAYS = environment.whole("VPP_ROLL_UP_DAYS", 90, 1, 3_650)
"""The same for roll-ups of minutes; those of 15 minutes stay."""

# --- the sites' certificates -----------------------------------------------------------------
SITE_CA_CERT = environment.text("VPP_SITE_CA_CERT", "")
SITE_CA_KEY = environment.text("VPP_SITE_CA_KEY", "")
"""Only where certificates are signed; without it approved requests wait for `manage.py sign_requests`."""
BROKER_CA = environment.text("VPP_BROKER_CA", "")
"""Who signed the broker's own certificate: sites get it with theirs."""
SITE_CERT_DAYS = environment.number("VPP_SITE_CERT_DAYS", 30.0, 0.001, 398.0)
ENROLMENT_TOKEN_H = environment.number("VPP_ENROLMENT_TOKEN_H", 24.0, 0.01, 720.0)

# --- dispatch --------------------------------------------------------------------------------
DISPATCH_TICK_S = environment.number("VPP_DISPATCH_TICK_S", 0.1, 0.01, 10.0)
RESEND_AFTER_S = environment.number("VPP_RESEND_AFTER_S", 1.0, 0.1, 60.0)
"""Desired and reported assignment differ for this long: send again."""
COMMAND_LIFE_S = environment.number("VPP_COMMAND_LIFE_S", 30.0, 2.0, 600.0)
"""A request to a site that was not answered for so long has expired: it does not come true later."""
DROPOUT_MARGIN = environment.number("VPP_DROPOUT_MARGIN", 0.02, 0.0, 0.5)
"""Share armed on top of the obligation against sites that drop out in the event."""
FRESH_WITHIN_S = environment.number("VPP_FRESH_WITHIN_S", 10.0, 1.0, 600.0)
"""A site whose last reading is older is not counted on."""
REARM_EVERY_S = environment.number("VPP_REARM_EVERY_S", 60.0, 0.0, 3600.0)
"""Each site's share follows its headroom and energy so often, each site at its own instant; 0: never."""
REPLACE_WITHIN_S = environment.number("VPP_REPLACE_WITHIN_S", 15.0, 1.0, 600.0)
"""Firm power under the promise for longer than this is told as a fault."""
LEASE_S = environment.number("VPP_LEASE_S", 5.0, 1.0, 300.0)

# --- OpenADR ---------------------------------------------------------------------------------
OPERATORS_FILE = environment.text("VPP_OPERATORS", "")
"""TOML file with the operators' VTNs; without it the next seven declare one."""
VTN_URL = environment.text("VPP_VTN_URL", "")
VEN_NAME = environment.text("VPP_VEN_NAME", "open-vpp")
VEN_CERT = environment.text("VPP_VEN_CERT", "")
VEN_KEY = environment.text("VPP_VEN_KEY", "")
VEN_CA = environment.text("VPP_VEN_CA", "")
VTN_FINGERPRINT = environment.text("VPP_VTN_FINGERPRINT", "")
VEN_POLL_S = environment.whole("VPP_VEN_POLL_S", 1, 1, 3600)
REPORT_SITES = environment.flag("VPP_REPORT_SITES", False)
"""Whether operators are told of each site, and not only of all sites of a program together."""
VTN_WEBHOOK_NETWORKS = environment.networks("VPP_VTN_WEBHOOK_NETWORKS")
"""Where our VTN's webhooks may go although it is no public address, and then without TLS too."""
VTN_MQTT_URIS = environment.addresses("VPP_VTN_MQTT_URIS", ("mqtt", "mqtts"))
"""Under which addresses clients of our VTN reach the broker; none: no MQTT is offered to them."""
OAUTH2_PROVIDER_APPLICATION_MODEL = "oauth2_provider.Application"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "oauth2_provider.AccessToken"  # noqa: S105 - a model
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "oauth2_provider.RefreshToken"  # noqa: S105 - a model
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "oauth2_provider.IDToken"  # noqa: S105 - a model
OAUTH2_PROVIDER_GRANT_MODEL = "oauth2_provider.Grant"
OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = "oauth2_provider.DeviceGrant"
OAUTH2_PROVIDER = {
    "SCOPES_BACKEND_CLASS": "markets.openadr.vtn3.authentication.RoleScopes",
    # Client credentials and no other grant.
    "OAUTH2_SERVER_CLASS": "oauthlib.oauth2.BackendApplicationServer",
    "CLIENT_SECRET_HASHER": "pbkdf2_sha256_machine",
    "ACCESS_TOKEN_EXPIRE_SECONDS": environment.whole("VPP_VTN_TOKEN_S", 900, 60, 86_400),
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
}
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "markets.openadr.vtn3.authentication.MachineSecretHasher",
]
OWN_VTN_LISTEN = environment.text("VPP_OWN_VTN_LISTEN", "127.0.0.1:8443")
OWN_VTN_ID = environment.text("VPP_OWN_VTN_ID", "OPEN-VPP")
OWN_VTN_CERT = environment.text("VPP_OWN_VTN_CERT", "")
OWN_VTN_KEY = environment.text("VPP_OWN_VTN_KEY", "")
OWN_VTN_CA = environment.text("VPP_OWN_VTN_CA", "")
OWN_VTN_POLL_S = environment.whole("VPP_OWN_VTN_POLL_S", 10, 1, 86_400)
OWN_VTN_REPORT_S = environment.whole("VPP_OWN_VTN_REPORT_S", 60, 1, 3600)
OWN_VTN_PUSH_NETWORKS = environment.text("VPP_OWN_VTN_PUSH_NETWORKS", "")

# --- what watches the processes ----------------------------------------------------------------
try:
    OBSERVE_ADDRESS = Address.parse(environment.text("VPP_OBSERVE", "127.0.0.1:0"))
except ObservabilityAddressError as error:
    raise ImproperlyConfigured(f"VPP_OBSERVE: {error}") from None
OBSERVE_DIR = RUNTIME_DIR / "observe"
"""Where each process says on which port its metrics are, for Prometheus's file discovery."""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {"()": "sites.observability.logs.JsonLines"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": environment.choice("VPP_LOG_FORMAT", "line", ("line", "json")),
        }
    },
    "root": {"handlers": ["stderr"], "level": environment.text("VPP_LOG_LEVEL", "INFO")},
    # openleadr logs whole payloads at INFO.
    "loggers": {"openleadr": {"level": "WARNING"}, "apscheduler": {"level": "WARNING"}},
}
