"""What lasts: PostgreSQL from Trio, the embedded one included. The driver appears here and nowhere else."""
