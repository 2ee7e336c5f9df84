"""The first tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes all tables, the start of the chain, and the empty place of the champion."""
    _batch()
    _feedback()
    _quarantine()
    head = op.create_table(
        "head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", _BIG, nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_head"),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "chain": "0" * 64}])
    _rounds()
    champion = op.create_table(
        "champion",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("round", sa.Integer()),
        sa.Column("version", sa.Text()),
        sa.Column("sha256", sa.String(64)),
        sa.Column("decision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_champion"),
    )
    op.bulk_insert(champion, [{"id": 1, "decision": 0}])


def _batch() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("received", _BIG, nullable=False),
        sa.Column("accepted", _BIG, nullable=False),
        sa.Column("duplicate", _BIG, nullable=False),
        sa.Column("quarantined", _BIG, nullable=False),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("finished_at", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
        sa.CheckConstraint(
            "received = accepted + duplicate + quarantined", name=op.f("ck_batch_counts")
        ),
    )


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("seq", _BIG, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(512), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("row", sa.Text()),
        sa.Column("salt", sa.String(32)),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("rater", sa.String(512)),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_feedback"),
        sa.UniqueConstraint("id", name="uq_feedback_id"),
        sa.UniqueConstraint("content_hash", name="uq_feedback_content_hash"),
        sa.ForeignKeyConstraint(["batch"], ["batch.id"], name="fk_feedback_batch"),
    )
    op.create_index("ix_feedback_rater", "feedback", ["rater"])


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("line", _BIG, nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sa.ForeignKeyConstraint(["batch"], ["batch.id"], name="fk_quarantine_batch"),
    )
    op.create_index("ix_quarantine_batch", "quarantine", ["batch"])
    op.create_table(
        "quarantine_part",
        sa.Column("quarantine", _BIG, nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("quarantine", "part", name="pk_quarantine_part"),
        sa.ForeignKeyConstraint(
            ["quarantine"], ["quarantine.id"], name="fk_quarantine_part_quarantine"
        ),
    )


def _rounds() -> None:
    op.create_table(
        "round",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("finished_at", sa.String(32)),
        sa.Column("watermark", _BIG),
        sa.Column("decision", sa.String(32)),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("data_version", sa.Text()),
        sa.Column("commit", sa.String(64)),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_round"),
    )
    op.create_table(
        "decision",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer()),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("champion_before", sa.Text()),
        sa.Column("champion_after", sa.Text()),
        sa.Column("model_round", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decision"),
        sa.UniqueConstraint("round", name="uq_decision_round"),
        sa.ForeignKeyConstraint(["round"], ["round.number"], name="fk_decision_round"),
    )
    op.create_table(
        "override",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer()),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_override"),
    )
    op.create_index("ix_override_subject", "override", ["subject"])
