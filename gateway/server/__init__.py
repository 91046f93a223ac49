"""HTTP as clients speak it: the standalone gateway under gunicorn."""
