"""Who the resource owner is: the ways to sign in, passwords, sessions."""
