"""The gateway's store: Redis or Valkey, wherever it runs, asked in bounded time."""
