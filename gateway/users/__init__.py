"""Who the resource owner is: passwords, sessions, the ways to sign in."""
