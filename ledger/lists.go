package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
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
	Source     string // base name of the file
	Columns    []string
	Digest     string // over the contacts in order
	Identity   string // by what the import told duplicates
	Contacts   int
	Rows       int
	Duplicates int
	Rejected   int
	Suppressed int
	Created    time.Time
}

// ListCounts is what an import came to.
type ListCounts struct{ Rows, Imported, Duplicates, Rejected, Suppressed int }

// ListWriter takes in one import. Until Finish, no reader sees the list.
type ListWriter struct {
	l       *Ledger
	id      int64
	columns *campaign.Columns
	digest  hash.Hash
	buf     []byte
	behind  behind // the chunk before is written while the next is packed
}

// importLease is how long an importer may be silent before its half list is
// taken for dead.
const importLease = 60 * time.Second

// CreateList begins an import. An empty name makes the audience of one
// campaign; a name that is taken is an Error with CodeExists.
func (l *Ledger) CreateList(ctx context.Context, name, source, identity string) (*ListWriter, error) {
	w := &ListWriter{l: l, digest: sha256.New()}
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
				return campaign.Errorf(campaign.CodeExists, "list %q is being imported by another process (or its import was interrupted less than a minute ago): try again in a minute", name)
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
	if w.columns == nil {
		w.columns = chunk[0].Fields.Columns
	}
	cells := make([]contactCells, len(chunk))
	for i := range chunk {
		cells[i] = contactCells{int64(chunk[i].Line), chunk[i].Phone, packContact(&chunk[i])}
		w.buf = w.buf[:0]
		for _, s := range [...]string{cells[i].phone, cells[i].data} {
			w.buf = strconv.AppendInt(w.buf, int64(len(s)), 10)
			w.buf = append(w.buf, ':')
			w.buf = append(w.buf, s...)
		}
		w.digest.Write(w.buf)
	}
	// The write outlives the call, and so the context that the call was given.
	ctx = context.WithoutCancel(ctx)
	return w.behind.start(func() error { return w.write(ctx, cells) })
}

// contactCells is what the table of contacts holds of one.
type contactCells struct {
	line        int64
	phone, data string
}

func (w *ListWriter) write(ctx context.Context, cells []contactCells) error {
	return w.l.writeLoosely(ctx, crashpoint.ImportChunk, func(tx *tx) error {
		now, err := w.l.now(ctx, tx)
		if err != nil {
			return err
		}
		// Nothing is added to a list that was removed or discarded meanwhile.
		err = oneRow(tx.exec.ExecContext(ctx, `UPDATE lists SET lease_until = $1 WHERE id = $2 AND state = 'importing'`, now+importLease.Milliseconds(), w.id))
		if err != nil {
			return goneImport(err)
		}
		first, err := takeIDs(ctx, tx, "contact", len(cells))
		if err != nil {
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
}

// goneImport names what an update of a list that is no longer being imported
// means.
func goneImport(err error) error {
	if errors.Is(err, ErrLostLease) {
		return campaign.Errorf(campaign.CodeConflict, "the list is not being imported any more: it was removed, or its import was silent for a minute, taken for dead and discarded; import it again")
	}
	return fmt.Errorf("writing the list: %w", err)
}

// Finish makes the list visible, whole.
func (w *ListWriter) Finish(ctx context.Context, n ListCounts) (*List, error) {
	if err := w.behind.wait(); err != nil {
		return nil, err
	}
	columns, err := json.Marshal(append([]string{}, w.columns.Names()...))
	if err != nil {
		return nil, fmt.Errorf("writing the list's columns: %w", err)
	}
	w.digest.Write(columns)
	err = w.l.write(ctx, crashpoint.ImportFinish, func(tx *tx) error {
		return oneRow(tx.exec.ExecContext(ctx, `UPDATE lists SET state = 'ready', columns = $1, digest = $2, contacts = $3, rows = $4, duplicates = $5,
			rejected = $6, suppressed = $7, lease_until = 0 WHERE id = $8 AND state = 'importing'`,
			string(columns), hex.EncodeToString(w.digest.Sum(nil)), n.Imported, n.Rows, n.Duplicates, n.Rejected, n.Suppressed, w.id))
	})
	if err != nil {
		return nil, goneImport(err)
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

const listColumnsSQL = `id, COALESCE(name, ''), state, source, columns, digest, identity, contacts, rows, duplicates, rejected, suppressed, created_at`

func scanList(row scanner) (*List, error) {
	var (
		li      List
		columns string
		created int64
	)
	err := row.Scan(&li.ID, &li.Name, &li.State, &li.Source, &columns, &li.Digest, &li.Identity, &li.Contacts, &li.Rows, &li.Duplicates, &li.Rejected, &li.Suppressed, &created)
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
		return nil, campaign.Errorf(campaign.CodeConflict, "list %q is still being imported: try again when that has ended", ref)
	default:
		return nil, campaign.Errorf(campaign.CodeNotFound, "list %q was removed: `postrider list ls` shows those that are there", ref)
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
			return nil
		}
		from = last + 1
	}
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
