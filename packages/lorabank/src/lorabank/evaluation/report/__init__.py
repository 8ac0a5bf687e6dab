"""From runs to numbers, sentences, tables and pages."""
