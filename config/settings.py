"""Settings of the deployable site, from the environment.

`REDIS_URL`, `DATABASE_URL`, `DJANGO_SECRET_KEY`, `DJANGO_DEBUG`, `DJANGO_ALLOWED_HOSTS`,
`DJANGO_CSRF_TRUSTED_ORIGINS`, `DJANGO_SSL_REDIRECT`, `DJANGO_BEHIND_PROXY`, `DJANGO_LOG_LEVEL`,
`CELERY_BROKER_URL`, `CHAT_MODEL`, `OFFLINE_TOKEN_DELAY`, `JOB_EVENTS_DEMO`, `LOCAL_DIR`,
`METRICS_TOKEN`.
`DJANGO_SECRET_KEY` is required. `make demo` sets `JOB_EVENTS_DEMO` instead, which permits HTTP.
The defaults are SQLite and an embedded Redis in `.local/`.
"""

from typing import Any

import dj_database_url

from config.celery_broker import broker_url
from config.demo import settings as demo
from config.environment import BASE_DIR, LOCAL_DIR, flag, names, text
from events.testing.redis_server import embedded_url

LOCAL_DIR.mkdir(parents=True, exist_ok=True)
DEBUG = flag("DJANGO_DEBUG", default=False)
SECRET_KEY = text("DJANGO_SECRET_KEY") or demo.secret_key()
# Plain HTTP, and static files without `collectstatic`.
IS_LOCAL = DEBUG or demo.JOB_EVENTS_DEMO
ALLOWED_HOSTS = names("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = names("DJANGO_CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "events",
    "jobs",
    "config.demo",
    # After the apps above: the first one that translates a text wins.
    "rest_framework",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # The demo overrides templates of the apps.
        "DIRS": [BASE_DIR / "config" / "demo" / "templates", BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES: dict[str, Any] = {
    # No CONN_MAX_AGE: a new connection fails after `connect_timeout` if PostgreSQL does not answer.
    "default": dj_database_url.parse(text("DATABASE_URL", f"sqlite:///{LOCAL_DIR / 'db.sqlite3'}"))
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # Writers wait for each other; readers never wait.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # Connecting to a PostgreSQL that does not answer fails instead of occupying a thread.
    timeouts = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
    DATABASES["default"]["OPTIONS"] = {**timeouts, **DATABASES["default"].get("OPTIONS", {})}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.error_reports.RedactingFilter"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator",
                 "CommonPasswordValidator", "NumericPasswordValidator")
]  # fmt: skip
LOGIN_URL = "job_events:login"
LOGIN_REDIRECT_URL = "job_events:list"
LOGOUT_REDIRECT_URL = "job_events:login"

LANGUAGE_CODE = "en"
# Those of the message catalogs: the browser's language selects one of them.
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文"), ("de", "Deutsch")]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = LOCAL_DIR / "static"

if not IS_LOCAL:
    SECURE_SSL_REDIRECT = flag("DJANGO_SSL_REDIRECT", default=True)
    if flag("DJANGO_BEHIND_PROXY", default=False):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 60 * 60 * 24 * 30
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

REDIS_URL = text("REDIS_URL", embedded_url(LOCAL_DIR / "redis"))
CELERY_BROKER_URL = text("CELERY_BROKER_URL", broker_url(REDIS_URL))
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Creating a job must fail within seconds if the broker is down.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 2, "interval_start": 0.1, "interval_max": 0.5}
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 5}

# Announces job changes between processes. Channel reads block, so they have no socket timeout.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}]},
    }
}

JOB_EVENTS: dict[str, Any] = {
    "REDIS_URL": REDIS_URL,
    "RUNNERS": demo.RUNNERS,
    "CHAT_MODEL": demo.CHAT_MODEL,
    "METRICS_TOKEN": text("METRICS_TOKEN"),
}
JOB_EVENTS_DEMO = demo.JOB_EVENTS_DEMO

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.BasicAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "events.log_format.KeyValueFormatter",
            "format": "{asctime} {levelname} {name} {message}",
            "style": "{",
        }
    },
    "filters": {"rate": {"()": "events.log_format.RateLimit"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["rate"]}
    },
    # Without Django's own handlers, which would log its lines a second time.
    "loggers": {"django": {"handlers": []}},
    "root": {"handlers": ["stderr"], "level": text("DJANGO_LOG_LEVEL", "INFO")},
}
