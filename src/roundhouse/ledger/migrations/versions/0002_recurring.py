"""What a service that runs for years needs: owners, skips, frozen inputs, erasure.

Revision ID: 0002
Revises: 0001
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the new columns and tables, the ledger's own name, and the empty place of the owner."""
    op.add_column("feedback", sa.Column("personal", sa.String(64)))
    op.add_column("feedback", sa.Column("erasure", sa.Integer()))
    op.add_column("quarantine", sa.Column("rater", sa.String(512)))
    op.add_column("quarantine", sa.Column("erasure", sa.Integer()))
    op.add_column("round", sa.Column("inputs", sa.Text()))
    op.add_column("decision", sa.Column("who", sa.Text()))
    op.add_column("round", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
    name = uuid.uuid4().hex
    op.add_column("head", sa.Column("ledger", sa.String(32), nullable=False, server_default=name))
    owner = op.create_table(
        "owner",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_owner"),
    )
    op.bulk_insert(owner, [{"id": 1, "epoch": 0, "who": "{}"}])
    op.create_table(
        "skip",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_skip"),
    )
    op.create_table(
        "erasure",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("finished_at", sa.String(32)),
        sa.Column("report", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasure"),
    )
    op.create_table(
        "forgotten",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("erasure", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_forgotten"),
        sa.ForeignKeyConstraint(["erasure"], ["erasure.id"], name="fk_forgotten_erasure"),
    )
