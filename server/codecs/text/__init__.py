"""Texts as Hugging Face's and TEI's clients send them, and the plain JSON they get back."""
