"""The views of the REST API: jobs, events, live delivery."""
