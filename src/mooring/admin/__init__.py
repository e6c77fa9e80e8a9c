"""The admin side: metrics, health, an API and a dashboard, in a thread of its own. Needs the extra ``admin``."""
