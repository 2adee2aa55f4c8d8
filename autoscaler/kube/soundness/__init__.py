"""Whether a scale target lets its replicas start, serve and end without losing requests.

Pure functions over objects as the API server or a file has them: `template.py` reads one Deployment into
facts, the modules of `CHECKS` (`lint.py`) find in them what is wrong. Nothing here is asked of a cluster,
and an object of any shape is read: what is not there or of another type is unknown or the API's default.
"""
