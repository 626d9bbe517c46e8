"""The core that a design is used through: its registers and packets."""
