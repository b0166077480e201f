"""Settings of the whole project.

Each one is read once, through a function that says its type; a wrong value stops the start with a message.
Everything Casemate writes lies under DATA (`var` beside the code unless CASEMATE_DATA says otherwise).
Secrets are never read from the environment: the master key is a file, and a running server hands its processes
only the sealing subkeys they need, through KEYRING.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import tempfile
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from hsmapp.sealing import find_keyring

BASE = Path(__file__).resolve().parent.parent


def env_text(name: str, default: str) -> str:
    return os.environ.get(name) or default


def env_flag(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").lower()
    if value not in {"", "0", "1", "true", "false"}:
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to 1 or 0.")
    return default if value == "" else value in {"1", "true"}


def env_int(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    try:
        return int(value) if value else default
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to a whole number.") from error


def env_list(name: str, default: str) -> list[str]:
    return [part.strip() for part in env_text(name, default).split(",") if part.strip()]


def env_at_least(name: str, default: int, *, lowest: int) -> int:
    number = env_int(name, default)
    if number < lowest:
        raise ImproperlyConfigured(f"{name} is {number}. Set it to a whole number from {lowest} on.")
    return number


def env_networks(name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Addresses and networks such as 10.0.0.0/8. The whole internet is none: anybody could say anything."""
    try:
        networks = [ipaddress.ip_network(part) for part in env_list(name, "")]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}. Set it to addresses or networks, with commas between.") from error
    if any(network.prefixlen == 0 for network in networks):
        raise ImproperlyConfigured(f"{name} trusts every address. Name the proxies that stand before the server.")
    return networks


# Where everything is kept: database, tokens, audit files, sockets.
DATA = Path(env_text("CASEMATE_DATA", str(BASE / "var"))).absolute()
# 32 random bytes under which secrets in the database are sealed. Backups never include it.
MASTER_KEY_FILE = Path(env_text("CASEMATE_MASTER_KEY_FILE", str(DATA / "secret" / "master.key")))
# A running server's way to hand a process the sealing subkeys it may have (a path in /proc, for this user only).
KEYRING = env_text("CASEMATE_KEYRING", "")
# Socket on which bin/serve waits for signs of life of its processes, and where it notes what is wrong with them (a path
# in /proc). Empty where no bin/serve runs.
HEARTBEAT = env_text("CASEMATE_HEARTBEAT", "")
TROUBLES = env_text("CASEMATE_TROUBLES", "")
# Folder in which crash tests see where each process is (hsmapp/steps.py); empty: nothing is kept.
STEPS = env_text("CASEMATE_STEPS", "")
# PKCS#11 module that HSM processes load; empty: SoftHSM is looked for.
PKCS11_MODULE = env_text("PKCS11_MODULE", env_text("SOFTHSM2_MODULE", ""))

# Transitions of stores, clusters and HSMs take effect at once instead of after TRANSITION_SECONDS.
IMMEDIATE = env_flag("CASEMATE_IMMEDIATE", False)
TRANSITION_SECONDS = env_int("CASEMATE_TRANSITION_SECONDS", 3)
# Whether accounts can be put back to what they were at the start (console/views/reset.py), for tests.
RESETTABLE = env_flag("CASEMATE_RESETTABLE", False)
# HSMs that CreateKey needs, active and in different Availability Zones, as AWS requires.
MIN_ACTIVE_HSMS = env_int("CASEMATE_MIN_ACTIVE_HSMS", 2)

# The memory in which web workers count requests (a path in /proc, from bin/serve); empty: no request is throttled.
REQUEST_QUOTAS = env_text("CASEMATE_REQUEST_QUOTAS", "")
# Cryptographic operations a second that the keys of one custom key store do, as in AWS.
KEY_STORE_REQUESTS_PER_SECOND = env_at_least("CASEMATE_KEY_STORE_REQUESTS_PER_SECOND", 1_800, lowest=1)

# Never on: its error pages show settings and variables to whoever asks.
DEBUG = False
# Signs sessions, so it must be the same on every worker and after a restart: derived from the master key. Without one
# there are no sessions yet (the first migrate) and a fresh value will do.
_keyring = find_keyring(KEYRING, MASTER_KEY_FILE)
SECRET_KEY = _keyring.web_secret() if _keyring else secrets.token_hex(32)
ALLOWED_HOSTS = env_list("CASEMATE_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
# Proxies whose X-Forwarded-For is believed (console/proxies.py): addresses or networks. Without any it is ignored.
TRUSTED_PROXIES = env_networks("CASEMATE_TRUSTED_PROXIES")
CSRF_TRUSTED_ORIGINS = env_list("CASEMATE_TRUSTED_ORIGINS", "")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "hsmapp",
    "kmsapp",
    "console",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "console.middleware.SecurityHeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "console.sessions.SessionLifeMiddleware",
    "console.middleware.CallerMiddleware",
]

ROOT_URLCONF = "console.urls"
WSGI_APPLICATION = "console.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.context.shell",
            ],
        },
    },
]

AUTH_USER_MODEL = "kmsapp.User"
AUTHENTICATION_BACKENDS = ["kmsapp.iam.sign_in.ConsoleBackend"]
CSRF_FAILURE_VIEW = "console.views.errors.csrf_failure"
LOGIN_URL = "console:sign-in"
LOGIN_REDIRECT_URL = "console:keys"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]  # what a good one is: kmsapp/iam/passwords.py


def database() -> dict[str, object]:
    """SQLite under DATA, or what DATABASE_URL says (postgres://…)."""
    url = os.environ.get("DATABASE_URL", "")
    if url:
        return {**environ.Env.db_url_config(url), "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "casemate.sqlite3",
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 10,
            # A transaction that reads first and writes later would fail with "database is locked" under load.
            "transaction_mode": "IMMEDIATE",
            # FULL: an acknowledged key must survive a power cut. secure_delete: an erased masked key must be gone.
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA foreign_keys=ON;"
            ),
        },
        # A file, because tests run real threads and processes beside each other; one per test run.
        "TEST": {"NAME": Path(tempfile.gettempdir()) / f"casemate-test-{os.getpid()}.sqlite3"},
    }


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Whether bin/serve serves HTTPS. Cookies are then for HTTPS only.
TLS = env_flag("CASEMATE_TLS", False)
# Such a cookie is taken from this host alone, by HTTPS alone; browsers refuse the name without TLS.
COOKIE_PREFIX = "__Host-" if TLS else ""
SESSION_COOKIE_NAME = f"{COOKIE_PREFIX}casemate_session"
CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}csrftoken"
SESSION_COOKIE_SECURE = TLS
CSRF_COOKIE_SECURE = TLS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
# A sign-in lasts 12 hours, as AWS's does, and less if nothing is done for an hour (console/sessions.py).
SESSION_HOURS = env_at_least("CASEMATE_SESSION_HOURS", 12, lowest=1)
SESSION_IDLE_MINUTES = env_at_least("CASEMATE_SESSION_IDLE_MINUTES", 60, lowest=1)
# How old the last proof of the password may be before what disconnects or deletes (console/reauthentication.py); 0 asks
# each time.
PROOF_MINUTES = env_at_least("CASEMATE_PROOF_MINUTES", 5, lowest=0)
SESSION_COOKIE_AGE = SESSION_HOURS * 3600  # seconds
CSRF_COOKIE_HTTPONLY = True  # htmx sends the token from the page, not from the cookie
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = DATA / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": env_text("CASEMATE_STATIC_STORAGE", "whitenoise.storage.CompressedManifestStaticFilesStorage"),
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "filters": {"refusals": {"()": "console.logs.RefusalsInOneLine"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["refusals"]}},
    "root": {"handlers": ["stderr"], "level": env_text("CASEMATE_LOG_LEVEL", "INFO")},
}
