"""What an OAuth request is, without store or settings: strict check, grammar, errors."""
