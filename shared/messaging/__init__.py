"""The bus. A fact leaves with the change it tells (outbox) and takes effect once wherever it is heard (inbox).

    operation ── outbox.add ──▶ outbox row ── relay ──▶ transport ──▶ consumer ── inbox row + handler ──▶ commit

Crash points and who heals them: before the commit, nothing happened; between commit and publish, the relay sends
later; between publish and the row's removal, it is sent twice and the inbox drops one; between the handler's commit
and the acknowledgement, it is delivered again and dropped. What a handler refuses is kept in the hearer's own
database, tried again with back-off, then parked for a person (`deadletters`).
"""
