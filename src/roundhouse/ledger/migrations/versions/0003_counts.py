"""What had come to the ledger when a round's inputs were frozen.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the column; of rounds that were frozen before, nobody knows it any more."""
    op.add_column("round", sa.Column("counts", sa.Text()))
