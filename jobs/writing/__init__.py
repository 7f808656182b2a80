"""The demo job: an outline, then a document, from a prompt and text files. No Django in here."""
