package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// List is a contact list: named, or the nameless audience of one campaign.
type List struct {
	ID         int64
	Name       string // empty: the audience of one campaign
	State      string // importing, ready, retired
	Version    int    // from 1; raised by whatever changes a named list
	Mode       Mode   // what made this version
	Source     string // base name of the file
	Columns    []string
	Digest     string // over the contacts in order
	Identity   string // by what the import told duplicates
	Contacts   int
	ListCounts // of what made this version
	Created    time.Time
}

// ListCounts is what an import came to. Rows is the sum of the four after it,
// Imported that of the last three.
type ListCounts struct {
	Rows, Imported, Duplicates, Rejected, Suppressed int

	Added     int // contacts that the version before does not have
	Updated   int // contacts that it has otherwise
	Unchanged int // rows that said nothing new
}

// ListWriter takes in one import. Until Finish, no reader sees the list.
type ListWriter struct {
	l       *Ledger
	id      int64
	mode    Mode
	content *ListContent
	written int            // contacts that Contacts took
	pending []contactCells // of these, what is not on its way yet
	behind  behind         // what went before is written while the next is packed

	change // of a version that another goes before
}

// importLease is how long an importer may be silent before its half list is
// taken for dead.
const importLease = 60 * time.Second

// CreateList begins an import. An empty name makes the audience of one
// campaign; a name that is taken is an Error with CodeExists.
func (l *Ledger) CreateList(ctx context.Context, name, source, identity string) (*ListWriter, error) {
	w := &ListWriter{l: l, mode: Imported, content: NewListContent()}
	err := l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		if name != "" {
			var other, leaseUntil int64
			var state string
			switch err := tx.exec.QueryRowContext(ctx, `SELECT id, state, lease_until FROM lists WHERE name = $1`, name).Scan(&other, &state, &leaseUntil); {
			case err == nil && state == "importing" && leaseUntil <= now:
				// Its import has died; what is left of it goes with the next sweep.
				if _, err := tx.exec.ExecContext(ctx, `UPDATE lists SET name = NULL WHERE id = $1`, other); err != nil {
					return fmt.Errorf("taking over the name of an interrupted import: %w", err)
				}
			case err == nil && state == "importing":
				return campaign.Errorf(campaign.CodeExists, "list %q is being imported by another process, or its import was killed less than a minute ago, which passes by itself: try again in a minute", name)
			case err == nil:
				return campaign.Errorf(campaign.CodeExists, "a list named %q exists already: see `postrider list show %s`, remove it with `postrider list rm %s`, or choose another name", name, name, name)
			case !errors.Is(err, sql.ErrNoRows):
				return fmt.Errorf("looking for a list of that name: %w", err)
			}
		}
		err = tx.exec.QueryRowContext(ctx, `INSERT INTO lists (name, state, source, identity, lease_until, created_at)
			VALUES ($1, 'importing', $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING RETURNING id`, nullString(name), source, identity, now+importLease.Milliseconds(), now).Scan(&w.id)
		if errors.Is(err, sql.ErrNoRows) {
			return campaign.Errorf(campaign.CodeExists, "list %q is being imported by another process: try again in a minute, or choose another name", name)
		}
		if err != nil {
			return fmt.Errorf("writing the list: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// ID is the id of the list being written.
func (w *ListWriter) ID() int64 { return w.id }

// Contacts adds contacts in the order of the file. It does not keep the slice.
// They are written while the caller goes on: an error may be told by the next
// call, or by Finish.
func (w *ListWriter) Contacts(ctx context.Context, chunk []campaign.Contact) error {
	if len(chunk) == 0 {
		return nil
	}
	for i := range chunk {
		cells := w.content.pack(&chunk[i])
		if w.mode == Updated { // the digest comes when it is known what becomes of the row
			if err := w.remember(chunk[i].Line); err != nil {
				return err
			}
		} else {
			w.content.add(cells.phone, cells.data)
		}
		w.pending = append(w.pending, cells)
	}
	w.written += len(chunk)
	if len(w.pending) < contactsAWrite {
		return nil
	}
	return w.send(ctx)
}

// contactsAWrite is how many contacts are stored in one transaction: of 2,000 a
// PostgreSQL takes a third fewer a second, for all the messages to and fro.
const contactsAWrite = 8000

// send begins to write what is pending.
func (w *ListWriter) send(ctx context.Context) error {
	if len(w.pending) == 0 {
		return w.behind.wait()
	}
	cells := w.pending
	w.pending = make([]contactCells, 0, cap(cells))
	// The write outlives the call, and so the context that the call was given.
	ctx = context.WithoutCancel(ctx)
	return w.behind.start(func() error { return w.write(ctx, cells) })
}

// drain returns when everything is written.
func (w *ListWriter) drain(ctx context.Context) error {
	if err := w.send(ctx); err != nil {
		return err
	}
	return w.behind.wait()
}

// contactCells is what the table of contacts holds of one.
type contactCells struct {
	line        int64
	phone, data string
}

func (w *ListWriter) write(ctx context.Context, cells []contactCells) error {
	var first int64
	err := w.l.writeLoosely(ctx, crashpoint.ImportChunk, func(tx *tx) (err error) {
		if err := w.renew(ctx, tx); err != nil {
			return err
		}
		if first, err = takeIDs(ctx, tx, "contact", len(cells)); err != nil {
			return err
		}
		_, err = tx.exec.ExecContext(ctx, `UPDATE lists SET first_id = CASE WHEN first_id = 0 THEN $1 ELSE first_id END, last_id = $2 WHERE id = $3`,
			first, first+int64(len(cells))-1, w.id)
		if err != nil {
			return fmt.Errorf("writing the list: %w", err)
		}
		return w.l.store.insert(ctx, tx, rows{
			table: "contacts", n: len(cells),
			columns: []column{counts("id", first), same("list_id", w.id), differs("line"), differs("phone"), differs("data")},
			each:    func(i int, v []any) { v[0], v[1], v[2] = cells[i].line, cells[i].phone, cells[i].data },
		})
	})
	w.wrote(first, len(cells))
	return err
}

// renew shows that the importer lives. Nothing is added to a list that was
// removed or discarded meanwhile.
func (w *ListWriter) renew(ctx context.Context, tx *tx) error {
	now, err := w.l.now(ctx, tx)
	if err != nil {
		return err
	}
	err = oneRow(tx.exec.ExecContext(ctx, `UPDATE lists SET lease_until = $1 WHERE id = $2 AND state = 'importing'`, now+importLease.Milliseconds(), w.id))
	if err != nil {
		return goneImport(err)
	}
	return nil
}

// goneImport names what an update of a list that is no longer being imported
// means.
func goneImport(err error) error {
	if errors.Is(err, ErrLostLease) {
		return campaign.Errorf(campaign.CodeConflict, "the list is not being imported any more: it was removed, or its import was silent for a minute, taken for dead and discarded; import it again")
	}
	return fmt.Errorf("writing the list: %w", err)
}

// Finish makes the list visible, whole. A version that another goes before
// takes its place in the same moment (see NewVersion); when it says the same,
// nothing is changed, and the list is the one before.
func (w *ListWriter) Finish(ctx context.Context, n ListCounts) (*List, error) {
	if err := w.drain(ctx); err != nil {
		return nil, err
	}
	columns, err := json.Marshal(append([]string{}, w.content.columns.Names()...))
	if err != nil {
		return nil, fmt.Errorf("writing the list's columns: %w", err)
	}
	contacts := w.written
	if w.base != nil {
		if w.saysTheSame() {
			if err := w.stillCurrent(ctx); err != nil {
				return nil, err
			}
			return w.base, w.Abort(ctx)
		}
		if err := w.copyBase(ctx); err != nil {
			return nil, err
		}
		contacts = w.contacts()
	}
	if w.content.uneven {
		if err := w.reckonAnew(ctx); err != nil {
			return nil, err
		}
	}
	digest := w.content.Digest()
	err = w.l.write(ctx, crashpoint.ImportFinish, func(tx *tx) error {
		name, version, err := w.takeName(ctx, tx)
		if err != nil {
			return err
		}
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE lists SET state = 'ready', name = COALESCE($1, name), version = $2, mode = $3, columns = $4, digest = $5,
			contacts = $6, rows = $7, imported = $8, duplicates = $9, rejected = $10, suppressed = $11, added = $12, updated = $13, unchanged = $14, lease_until = 0
			WHERE id = $15 AND state = 'importing'`,
			name, version, string(w.mode), string(columns), digest, contacts,
			n.Rows, n.Imported, n.Duplicates, n.Rejected, n.Suppressed, n.Added, n.Updated, n.Unchanged, w.id))
		if err != nil {
			return goneImport(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return w.l.List(ctx, w.id)
}

// Abort discards the import; nothing of it stays. After Finish it does nothing.
func (w *ListWriter) Abort(ctx context.Context) error {
	_ = w.behind.wait() // whatever came of it goes
	err := w.l.store.write(ctx, func(tx *tx) error {
		return oneRow(tx.exec.ExecContext(ctx, `UPDATE lists SET state = 'retired', name = NULL, lease_until = 0 WHERE id = $1 AND state = 'importing'`, w.id))
	})
	if errors.Is(err, ErrLostLease) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("discarding the import: %w", err)
	}
	return w.l.dropList(ctx, w.id)
}

// dropList deletes a list that is out of sight and its contacts, in pieces, so
// that nobody waits long for the writer.
func (l *Ledger) dropList(ctx context.Context, id int64) error {
	if err := l.deleteInPieces(ctx, `DELETE FROM contacts WHERE id IN (SELECT k.id FROM lists i JOIN contacts k ON k.id BETWEEN i.first_id AND i.last_id
		WHERE i.id = $1 AND k.list_id = i.id ORDER BY k.id LIMIT 20000)`, id); err != nil {
		return fmt.Errorf("removing the contacts of list %d: %w", id, err)
	}
	err := l.store.write(ctx, func(tx *tx) error {
		_, err := tx.exec.ExecContext(ctx, `DELETE FROM lists WHERE id = $1`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("removing list %d: %w", id, err)
	}
	return nil
}

// deleteInPieces runs a bounded DELETE until nothing is left of it.
func (l *Ledger) deleteInPieces(ctx context.Context, query string, args ...any) error {
	for {
		var n int64
		err := l.store.write(ctx, func(tx *tx) error {
			res, err := tx.exec.ExecContext(ctx, query, args...)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

const listColumnsSQL = `id, COALESCE(name, ''), state, version, mode, source, columns, digest, identity, contacts,
	rows, imported, duplicates, rejected, suppressed, added, updated, unchanged, created_at`

func scanList(row scanner) (*List, error) {
	var (
		li      List
		columns string
		created int64
	)
	err := row.Scan(&li.ID, &li.Name, &li.State, &li.Version, &li.Mode, &li.Source, &columns, &li.Digest, &li.Identity, &li.Contacts,
		&li.Rows, &li.Imported, &li.Duplicates, &li.Rejected, &li.Suppressed, &li.Added, &li.Updated, &li.Unchanged, &created)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(columns), &li.Columns); err != nil {
		return nil, fmt.Errorf("reading the columns of list %d: %w", li.ID, err)
	}
	li.Created = fromMillis(created)
	return &li, nil
}

// List reads one list by its id.
func (l *Ledger) List(ctx context.Context, id int64) (*List, error) {
	li, err := scanList(l.store.read().QueryRowContext(ctx, `SELECT `+listColumnsSQL+` FROM lists WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, campaign.Errorf(campaign.CodeNotFound, "there is no list %d: `postrider list ls` shows them", id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading list %d: %w", id, err)
	}
	return li, nil
}

// FindList reads a finished list by its name or id.
func (l *Ledger) FindList(ctx context.Context, ref string) (*List, error) {
	li, err := scanList(l.store.read().QueryRowContext(ctx, `SELECT `+listColumnsSQL+` FROM lists WHERE name = $1`, ref))
	if errors.Is(err, sql.ErrNoRows) {
		if id, perr := strconv.ParseInt(ref, 10, 64); perr == nil {
			li, err = l.List(ctx, id)
			if err != nil {
				return nil, err
			}
		} else {
			return nil, campaign.Errorf(campaign.CodeNotFound, "there is no list named %q: `postrider list ls` shows them", ref)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("looking for list %q: %w", ref, err)
	}
	switch li.State {
	case "ready":
	case "importing":
		return nil, campaign.Errorf(campaign.CodeConflict, "list %q is still being imported: try again when that has ended; an import that was killed is taken for dead after a minute, and the next one of that name takes its place", ref)
	default:
		return nil, campaign.Errorf(campaign.CodeNotFound, "list %q was removed, or is an earlier version of one: `postrider list ls` shows those that are there", ref)
	}
	return li, nil
}

// Lists shows every named list that is whole, by name.
func (l *Ledger) Lists(ctx context.Context) ([]*List, error) {
	rows, err := l.store.read().QueryContext(ctx, `SELECT `+listColumnsSQL+` FROM lists WHERE name IS NOT NULL AND state = 'ready' ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("reading lists: %w", err)
	}
	defer rows.Close()
	var all []*List
	for rows.Next() {
		li, err := scanList(rows)
		if err != nil {
			return nil, fmt.Errorf("reading lists: %w", err)
		}
		all = append(all, li)
	}
	return all, rows.Err()
}

// RemoveList takes a list out of sight. Its contacts are deleted too unless a
// campaign was planned from it: what was priced and approved stays as it was.
func (l *Ledger) RemoveList(ctx context.Context, id int64) error {
	var planned bool
	err := l.store.write(ctx, func(tx *tx) error {
		// The update comes first: it waits for a campaign that is being created
		// from the list, and keeps others from being.
		_, err := tx.exec.ExecContext(ctx, `UPDATE lists SET name = NULL, state = 'retired', lease_until = 0 WHERE id = $1`, id)
		if err != nil {
			return err
		}
		return tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM campaigns WHERE list_id = $1)`, id).Scan(&planned)
	})
	if err != nil {
		return fmt.Errorf("removing list %d: %w", id, err)
	}
	if planned {
		return nil
	}
	return l.dropList(ctx, id)
}

// RemoveNamedList is RemoveList for whatever version of the list is current.
func (l *Ledger) RemoveNamedList(ctx context.Context, name string) error {
	var (
		id      int64
		planned bool
	)
	err := l.store.write(ctx, func(tx *tx) error {
		// As in RemoveList, the update comes first.
		err := tx.exec.QueryRowContext(ctx, `UPDATE lists SET name = NULL, state = 'retired', lease_until = 0 WHERE name = $1 AND state = 'ready' RETURNING id`, name).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return campaign.Errorf(campaign.CodeNotFound, "there is no list named %q any more: `postrider list ls` shows those that are there", name)
		}
		if err != nil {
			return err
		}
		return tx.exec.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM campaigns WHERE list_id = $1)`, id).Scan(&planned)
	})
	if err != nil {
		return fmt.Errorf("removing list %q: %w", name, err)
	}
	if planned {
		return nil
	}
	return l.dropList(ctx, id)
}

// listColumns reads the header of a list's further columns.
func (l *Ledger) listColumns(ctx context.Context, id int64) (*campaign.Columns, error) {
	var s string
	if err := l.store.read().QueryRowContext(ctx, `SELECT columns FROM lists WHERE id = $1`, id).Scan(&s); err != nil {
		return nil, fmt.Errorf("reading the columns of list %d: %w", id, err)
	}
	var names []string
	if err := json.Unmarshal([]byte(s), &names); err != nil {
		return nil, fmt.Errorf("reading the columns of list %d: %w", id, err)
	}
	return campaign.NewColumns(names...), nil
}

// contactColumn is a contact as one cell: id, list, line and phone before the
// packed rest.
const contactColumn = `k.id || ' ' || k.list_id || ' ' || k.line || ' ' || k.phone || k.data`

// recordSeparator stands between the cells of several rows that are read as
// one: a database hands over one long text in a third of the time of a
// thousand rows. It never appears in a cell (see packValues).
const recordSeparator = "\x1e"

// scanContact reads a row whose last column is contactColumn.
func scanContact(row scanner, columns *campaign.Columns, c *campaign.Contact, before ...any) error {
	var cell string
	if err := row.Scan(append(before, &cell)...); err != nil {
		return err
	}
	return readContact(cell, columns, c)
}

// readContact reads a contactColumn.
func readContact(cell string, columns *campaign.Columns, c *campaign.Contact) error {
	var line int64
	rest, err := cutInts(cell, &c.ID, &c.ListID, &line)
	if err != nil {
		return err
	}
	c.Line = int(line)
	// A number has no character with which packed values begin.
	data := len(rest)
	if at := strings.IndexAny(rest, separator+"["); at >= 0 {
		data = at
	}
	c.Phone = rest[:data]
	unpackContact(rest[data:], columns, c)
	return nil
}

// cutInts reads integers, each with a space behind it, and returns the rest.
func cutInts(s string, to ...*int64) (rest string, err error) {
	for _, n := range to {
		digits, more, _ := strings.Cut(s, " ")
		if *n, err = strconv.ParseInt(digits, 10, 64); err != nil {
			return "", fmt.Errorf("a stored contact cannot be read: the ledger is damaged: %w", err)
		}
		s = more
	}
	return s, nil
}

// EachContact hands every contact of a list to fn, in the order of the file.
// The contact is only valid until fn returns.
func (l *Ledger) EachContact(ctx context.Context, list int64, fn func(*campaign.Contact) error) error {
	columns, err := l.listColumns(ctx, list)
	if err != nil {
		return err
	}
	var from, to int64
	if err := l.store.read().QueryRowContext(ctx, `SELECT first_id, last_id FROM lists WHERE id = $1`, list).Scan(&from, &to); err != nil {
		return fmt.Errorf("reading list %d: %w", list, err)
	}
	for {
		n, last, err := l.someContacts(ctx, list, from, to, columns, fn)
		if err != nil {
			return err
		}
		if n == 0 {
			return l.stillThere(ctx, list)
		}
		from = last + 1
	}
}

// stillThere tells a list that was read whole from one that was removed, or
// replaced, in the meantime: its contacts went while it was read.
func (l *Ledger) stillThere(ctx context.Context, list int64) error {
	var there bool
	err := l.store.read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM lists WHERE id = $1
		AND (state <> 'retired' OR EXISTS (SELECT 1 FROM campaigns WHERE list_id = $1)))`, list).Scan(&there)
	if err != nil {
		return fmt.Errorf("reading list %d: %w", list, err)
	}
	if !there {
		return campaign.Errorf(campaign.CodeConflict, "the list was changed or removed while it was read: try again")
	}
	return nil
}

// stretch is how many contacts of a list are read at a time.
const stretch = 1000

// someContacts reads a stretch of a list: a read that stays open for the whole
// of a large list would keep SQLite from checkpointing.
func (l *Ledger) someContacts(ctx context.Context, list, from, to int64, columns *campaign.Columns, fn func(*campaign.Contact) error) (n int, last int64, err error) {
	var cells sql.NullString
	err = l.store.read().QueryRowContext(ctx, `SELECT string_agg(s.cell, $3) FROM
		(SELECT `+contactColumn+` AS cell FROM contacts k WHERE k.list_id = $1 AND k.id BETWEEN $2 AND $5 ORDER BY k.id LIMIT $4) AS s`,
		list, from, recordSeparator, stretch, to).Scan(&cells)
	if err != nil {
		return 0, 0, fmt.Errorf("reading list %d: %w", list, err)
	}
	if !cells.Valid {
		return 0, 0, nil
	}
	for cell := range strings.SplitSeq(cells.String, recordSeparator) {
		var c campaign.Contact
		if err := readContact(cell, columns, &c); err != nil {
			return 0, 0, fmt.Errorf("reading list %d: %w", list, err)
		}
		if c.ID <= last {
			return 0, 0, fmt.Errorf("reading list %d: the database gave its contacts out of order", list)
		}
		if err := fn(&c); err != nil {
			return 0, 0, err
		}
		n, last = n+1, c.ID
	}
	return n, last, nil
}
