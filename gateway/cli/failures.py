"""What the commands say when they cannot do what is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click


class Failure(click.ClickException):
    """Something that the operator can mend: said in words, without a traceback."""

    exit_code = 2


@contextmanager
def words_for_errors() -> Iterator[None]:
    """Turn the errors of a faulty configuration or of an unusable store into a Failure."""
    from gateway.config.file import ConfigError
    from gateway.store.embedded import EmbeddedStoreError
    from gateway.store.format_check import UnreadableStoreError

    try:
        yield
    except (ConfigError, UnreadableStoreError) as error:
        raise Failure(str(error)) from None
    except EmbeddedStoreError as error:
        raise Failure(f"the embedded store does not run: {error}") from None
