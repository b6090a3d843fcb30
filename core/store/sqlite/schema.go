package sqlite

// docs/storage-format.md describes these; change it first.
const (
	applicationID = 0x436F6672 // "Cofr"
	formatVersion = 1

	// maxTombstones bounds how many deletions are remembered; past it the older half is forgotten.
	maxTombstones = 8192
)

const schema = `
CREATE TABLE meta (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  revision   INTEGER NOT NULL,
  compacted  INTEGER NOT NULL,
  tombstones INTEGER NOT NULL
) STRICT;
CREATE TABLE record (
  id       INTEGER PRIMARY KEY,
  key      TEXT    NOT NULL UNIQUE,
  value    BLOB    NOT NULL,
  created  INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  deleted  INTEGER NOT NULL
) STRICT;
CREATE INDEX record_modified  ON record (modified);
CREATE INDEX record_tombstone ON record (modified) WHERE deleted = 1;
INSERT INTO meta (one, revision, compacted, tombstones) VALUES (1, 0, 0, 0);
`

const sqlIdentify = `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
  (SELECT count(*) FROM sqlite_schema)`

// Each read is one statement and so sees one snapshot. The join on meta's only row gives the revision even if no
// record matches. Changes are found by revision: the planner would rather read all keys with the prefix.
const (
	sqlRevision = `SELECT revision FROM meta`
	sqlGet      = `SELECT value, created, modified FROM record WHERE key = ? AND deleted = 0`
	sqlList     = `SELECT m.revision, r.key, r.value, r.created, r.modified FROM meta m
  LEFT JOIN record r ON r.key >= ? AND r.key < ? AND r.deleted = 0 ORDER BY r.key`
	sqlSince = `SELECT m.revision, m.compacted, r.key, r.value, r.created, r.modified, r.deleted FROM meta m
  LEFT JOIN record r INDEXED BY record_modified ON r.modified > ? AND r.key >= ? AND r.key < ? ORDER BY r.modified, r.key`
)

const (
	sqlMeta    = `SELECT revision, compacted, tombstones FROM meta`
	sqlAt      = `SELECT modified FROM record WHERE key = ? AND deleted = 0`
	sqlUpdate  = `UPDATE record SET value = ?2, modified = ?3 WHERE key = ?1 AND deleted = 0`
	sqlRevive  = `UPDATE record SET value = ?2, modified = ?3, created = ?3, deleted = 0 WHERE key = ?1`
	sqlInsert  = `INSERT INTO record (key, value, created, modified, deleted) VALUES (?1, ?2, ?3, ?3, 0)`
	sqlDelete  = `UPDATE record SET value = x'', created = 0, modified = ?2, deleted = 1 WHERE key = ?1 AND deleted = 0`
	sqlMiddle  = `SELECT modified FROM record WHERE deleted = 1 ORDER BY modified LIMIT 1 OFFSET ?`
	sqlForget  = `DELETE FROM record WHERE deleted = 1 AND modified <= ?`
	sqlSetMeta = `UPDATE meta SET revision = ?, compacted = ?, tombstones = ?`
)
