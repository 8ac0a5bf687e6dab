"""What is passed around: frozen dataclasses that check themselves."""
