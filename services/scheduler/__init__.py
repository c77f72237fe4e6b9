"""When it happens: durable timers and cron jobs. It only announces that a time has come."""
