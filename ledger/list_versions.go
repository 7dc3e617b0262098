package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/crashpoint"
)

// A named list is a sequence of versions. Contacts never change: whatever
// changes a list writes a new version beside it, out of sight, which takes over
// the name in one transaction when it is whole. A campaign refers to the version
// that it was planned from, and that one stays for as long as it is needed.

// Mode is what made a version of a list.
type Mode string

// The modes.
const (
	Imported Mode = "import"  // of a file, under a name that was free
	Appended Mode = "append"  // rows of a file that the list did not have were put behind it
	Replaced Mode = "replace" // of a file, in place of what was there
	Updated  Mode = "update"  // contacts got what a file says of them, and its other rows were put behind
	Deduped  Mode = "dedupe"  // contacts that stood in it twice were taken out
)

// change is what a ListWriter knows of the version that it is to stand in for.
type change struct {
	base        *List // nil: there is none
	first, last int64 // its contacts lie from here to there
	shift       int64 // what their ids and those of their copies differ by

	read     int    // contacts of the base
	replaced int    // of them, written anew instead of copied
	dropped  bitset // of them, by id from first: left out
	left     int    // how many those are

	lines   []uint32 // of an update: where in the file each written contact stood
	chunks  []writtenChunk
	removed int // written contacts that were of contacts of the base, or of nobody
}

// writtenChunk is where contacts with consecutive ids were written.
type writtenChunk struct {
	ordinal, n int // of the first among all that were written, and how many
	id         int64
}

// By says what makes the list, where it is not an import under a name that is
// free. It returns the writer.
func (w *ListWriter) By(mode Mode) *ListWriter {
	w.mode = mode
	return w
}

// NewVersion begins a version of a named list, which Finish puts in the place of
// the one given. Until then nobody sees it. When that one is not current any
// more, Finish is an Error with CodeConflict.
func (l *Ledger) NewVersion(ctx context.Context, base *List, mode Mode, source, identity string) (*ListWriter, error) {
	w := &ListWriter{l: l, mode: mode, content: NewListContent(), change: change{base: base}}
	copied := mode != Replaced
	if copied {
		w.content.meet(campaign.NewColumns(base.Columns...))
	}
	err := l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		err = tx.exec.QueryRowContext(ctx, `SELECT first_id, last_id FROM lists WHERE id = $1 AND state = 'ready'`, base.ID).Scan(&w.first, &w.last)
		if errors.Is(err, sql.ErrNoRows) {
			return w.superseded()
		}
		if err != nil {
			return fmt.Errorf("reading list %d: %w", base.ID, err)
		}
		// The copies of the base lie before all that is written.
		var first, last int64
		if copied && w.first > 0 {
			if first, err = takeIDs(ctx, tx, "contact", int(w.last-w.first+1)); err != nil {
				return err
			}
			w.shift, last = first-w.first, first+w.last-w.first
		}
		err = tx.exec.QueryRowContext(ctx, `INSERT INTO lists (state, source, identity, first_id, last_id, lease_until, created_at)
			VALUES ('importing', $1, $2, $3, $4, $5, $6) RETURNING id`, source, identity, first, last, now+importLease.Milliseconds(), now).Scan(&w.id)
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

// superseded is the error of a change whose base is not current any more.
func (w *ListWriter) superseded() error {
	return campaign.Errorf(campaign.CodeConflict, "list %q was changed or removed by somebody else in the meantime, and stays as that left it: try again", w.base.Name)
}

// EachOfBase hands every contact of the base to fn, in order, which says whether
// it stays in the list. The contact is only valid until fn returns.
func (w *ListWriter) EachOfBase(ctx context.Context, fn func(*campaign.Contact) (stays bool, err error)) error {
	return w.walk(ctx, func(c *campaign.Contact) error {
		stays, err := fn(c)
		if err != nil {
			return err
		}
		if !stays {
			w.dropped.add(c.ID - w.first)
			w.left++
			return nil
		}
		cells := w.content.pack(c)
		w.content.add(cells.phone, cells.data)
		return nil
	})
}

// walk reads the base, and shows from time to time that somebody does.
func (w *ListWriter) walk(ctx context.Context, fn func(*campaign.Contact) error) error {
	const oftenEnough = 50_000 // contacts: far less than the lease takes
	return w.l.EachContact(ctx, w.base.ID, func(c *campaign.Contact) error {
		if w.read++; w.read%oftenEnough == 0 {
			if err := w.l.store.write(ctx, func(tx *tx) error { return w.renew(ctx, tx) }); err != nil {
				return err
			}
		}
		return fn(c)
	})
}

// Update says how the rows of a file that were written meet the base.
type Update struct {
	// Find is the line of the row that speaks of a contact of the base.
	Find func(*campaign.Contact) (line int, there bool)
	// Merge is the contact as that row has it, under the list's columns; ok is
	// false when the row cannot be merged, and the contact stays as it is.
	Merge func(old, row *campaign.Contact, columns *campaign.Columns) (c campaign.Contact, ok bool, err error)
	// New is the contact that a row of nobody in the base makes; ok is false when
	// it makes none, and the row is left out.
	New func(row *campaign.Contact) (c campaign.Contact, ok bool, err error)
}

// UpdateCounts is what became of the rows of an update.
type UpdateCounts struct {
	Added, Updated, Unchanged, Refused int
	// Ambiguous is how many contacts of the base are found by a row by which
	// another one before them is found as well. The change must not be finished.
	Ambiguous int
}

// Update merges what was written into the base. Nothing may be written after it.
func (w *ListWriter) Update(ctx context.Context, u Update) (UpdateCounts, error) {
	var n UpdateCounts
	if err := w.drain(ctx); err != nil {
		return n, err
	}
	var spoken bitset // rows that speak of a contact, by ordinal
	if w.base != nil {
		part := make([]campaign.Contact, 0, stretch)
		merge := func() error {
			err := w.mergePart(ctx, part, u, &spoken, &n)
			part = part[:0]
			return err
		}
		err := w.walk(ctx, func(c *campaign.Contact) error {
			if part = append(part, *c); len(part) < stretch {
				return nil
			}
			return merge()
		})
		if err == nil {
			err = merge()
		}
		if err != nil || n.Ambiguous > 0 {
			return n, err
		}
	}
	return n, w.settleRows(ctx, u, &spoken, &n)
}

// mergePart merges rows into a stretch of the base. What they change is written
// where the copies of the others will lie.
func (w *ListWriter) mergePart(ctx context.Context, part []campaign.Contact, u Update, spoken *bitset, n *UpdateCounts) error {
	ordinals := make([]int, len(part))
	var wanted []int
	for i := range part {
		ordinals[i] = -1
		line, there := u.Find(&part[i])
		if !there {
			continue
		}
		at, there := slices.BinarySearch(w.lines, uint32(line))
		if !there {
			continue // the row was left out by the import
		}
		if spoken.has(int64(at)) {
			n.Ambiguous++
			continue
		}
		spoken.add(int64(at))
		ordinals[i] = at
		wanted = append(wanted, at)
	}
	rows, err := w.writtenRows(ctx, wanted)
	if err != nil {
		return err
	}
	var changed []contactCells
	var ids []int64
	for i := range part {
		cells := w.content.pack(&part[i])
		if ordinals[i] >= 0 {
			row := rows[w.idOf(ordinals[i])]
			if row == nil {
				return goneImport(ErrLostLease)
			}
			merged, ok, err := u.Merge(&part[i], row, w.content.columns)
			if err != nil {
				return err
			}
			if after := w.content.pack(&merged); !ok {
				n.Refused++
			} else if after.phone == cells.phone && after.data == cells.data {
				n.Unchanged++
			} else {
				n.Updated++
				cells = after
				changed, ids = append(changed, after), append(ids, part[i].ID+w.shift)
			}
		}
		w.content.add(cells.phone, cells.data)
	}
	w.replaced += len(changed)
	return w.put(ctx, ids, changed)
}

// writtenRows reads written contacts by their ordinals.
func (w *ListWriter) writtenRows(ctx context.Context, ordinals []int) (map[int64]*campaign.Contact, error) {
	rows := make(map[int64]*campaign.Contact, len(ordinals))
	for part := range slices.Chunk(ordinals, 500) {
		args := []any{recordSeparator}
		for _, at := range part {
			args = append(args, w.idOf(at))
		}
		var cells sql.NullString
		err := w.l.store.read().QueryRowContext(ctx, `SELECT string_agg(`+contactColumn+`, $1) FROM contacts k WHERE k.id IN (`+placeholders(2, len(part))+`)`, args...).Scan(&cells)
		if err != nil {
			return nil, fmt.Errorf("reading the rows of the file: %w", err)
		}
		if !cells.Valid {
			continue
		}
		for cell := range strings.SplitSeq(cells.String, recordSeparator) {
			c := new(campaign.Contact)
			if err := readContact(cell, w.content.columns, c); err != nil {
				return nil, fmt.Errorf("reading the rows of the file: %w", err)
			}
			rows[c.ID] = c
		}
	}
	return rows, nil
}

// settleRows makes contacts of the rows that speak of nobody in the base, and
// takes all others out.
func (w *ListWriter) settleRows(ctx context.Context, u Update, spoken *bitset, n *UpdateCounts) error {
	if len(w.chunks) == 0 {
		return nil
	}
	from, to := w.chunks[0].id, w.idOf(len(w.lines)-1)
	for ordinal := 0; ; {
		var gone, anew []int64
		var cells []contactCells
		count, last, err := w.l.someContacts(ctx, w.id, from, to, w.content.columns, func(row *campaign.Contact) error {
			at := ordinal
			ordinal++
			if spoken.has(int64(at)) {
				gone = append(gone, row.ID)
				return nil
			}
			before := w.content.pack(row)
			made, ok, err := u.New(row)
			if err != nil {
				return err
			}
			if !ok {
				n.Refused++
				gone = append(gone, row.ID)
				return nil
			}
			n.Added++
			after := w.content.pack(&made)
			if after != before {
				anew, cells = append(anew, row.ID), append(cells, after)
			}
			w.content.add(after.phone, after.data)
			return nil
		})
		if err != nil {
			return err
		}
		if count == 0 {
			if ordinal != len(w.lines) {
				return goneImport(ErrLostLease)
			}
			return nil
		}
		w.removed += len(gone)
		if err := w.takeOut(ctx, slices.Concat(gone, anew)); err != nil {
			return err
		}
		if err := w.put(ctx, anew, cells); err != nil {
			return err
		}
		from = last + 1
	}
}

// put writes contacts under ids that are free.
func (w *ListWriter) put(ctx context.Context, ids []int64, cells []contactCells) error {
	if len(ids) == 0 {
		return nil
	}
	return w.l.writeLoosely(ctx, crashpoint.ImportChunk, func(tx *tx) error {
		if err := w.renew(ctx, tx); err != nil {
			return err
		}
		return w.l.store.insert(ctx, tx, rows{
			table: "contacts", n: len(cells),
			columns: []column{differs("id"), same("list_id", w.id), differs("line"), differs("phone"), differs("data")},
			each: func(i int, v []any) {
				v[0], v[1], v[2], v[3] = ids[i], cells[i].line, cells[i].phone, cells[i].data
			},
		})
	})
}

// takeOut deletes contacts of the new version.
func (w *ListWriter) takeOut(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return w.l.writeLoosely(ctx, crashpoint.ImportChunk, func(tx *tx) error {
		if err := w.renew(ctx, tx); err != nil {
			return err
		}
		return deleteContacts(ctx, tx, ids)
	})
}

func deleteContacts(ctx context.Context, tx *tx, ids []int64) error {
	for part := range slices.Chunk(ids, 500) {
		if _, err := tx.exec.ExecContext(ctx, `DELETE FROM contacts WHERE id IN (`+placeholders(1, len(part))+`)`, asArgs(part)...); err != nil {
			return fmt.Errorf("taking contacts out of the list: %w", err)
		}
	}
	return nil
}

// remember keeps the line of a contact that is being written.
func (w *ListWriter) remember(line int) error {
	if n := len(w.lines); n > 0 && int64(w.lines[n-1]) >= int64(line) || line < 0 || int64(line) > 1<<32-1 {
		return campaign.Errorf(campaign.CodeInternal, "the rows of the file came out of order: line %d after another", line)
	}
	w.lines = append(w.lines, uint32(line))
	return nil
}

// wrote keeps where contacts of an update were written.
func (w *ListWriter) wrote(first int64, n int) {
	if w.mode != Updated {
		return
	}
	ordinal := 0
	if k := len(w.chunks); k > 0 {
		ordinal = w.chunks[k-1].ordinal + w.chunks[k-1].n
	}
	w.chunks = append(w.chunks, writtenChunk{ordinal, n, first})
}

// idOf is the id under which a contact was written.
func (w *ListWriter) idOf(ordinal int) int64 {
	at, there := slices.BinarySearchFunc(w.chunks, ordinal, func(c writtenChunk, o int) int { return c.ordinal - o })
	if !there {
		at--
	}
	c := w.chunks[at]
	return c.id + int64(ordinal-c.ordinal)
}

// contacts is how many the list has.
func (w *ListWriter) contacts() int { return w.read - w.left + w.written - w.removed }

// saysTheSame reports that the version is the one before it.
func (w *ListWriter) saysTheSame() bool {
	switch w.mode {
	case Appended, Updated:
		return w.written == w.removed && w.replaced == 0
	case Deduped:
		return w.left == 0
	}
	return !w.content.uneven && w.content.Digest() == w.base.Digest
}

// stillCurrent reports a base that another version has taken the place of: that
// this one says the same as it did is nothing then.
func (w *ListWriter) stillCurrent(ctx context.Context) error {
	var current bool
	err := w.l.store.read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM lists WHERE id = $1 AND state = 'ready' AND name = $2)`, w.base.ID, w.base.Name).Scan(&current)
	switch {
	case err != nil:
		return fmt.Errorf("reading list %d: %w", w.base.ID, err)
	case !current:
		return w.superseded()
	}
	return nil
}

// reckonAnew reckons the digest from what is stored: when the file had columns
// that the list did not have, what went before them was added without.
func (w *ListWriter) reckonAnew(ctx context.Context) error {
	w.content.restart()
	var from, to int64
	if err := w.l.store.read().QueryRowContext(ctx, `SELECT first_id, last_id FROM lists WHERE id = $1`, w.id).Scan(&from, &to); err != nil {
		return fmt.Errorf("reading the list: %w", err)
	}
	for i := 1; ; i++ {
		n, last, err := w.l.someContacts(ctx, w.id, from, to, w.content.columns, func(c *campaign.Contact) error {
			cells := w.content.pack(c)
			w.content.add(cells.phone, cells.data)
			return nil
		})
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if i%50 == 0 { // stretches: far less than the lease takes
			if err := w.l.store.write(ctx, func(tx *tx) error { return w.renew(ctx, tx) }); err != nil {
				return err
			}
		}
		from = last + 1
	}
	if n := w.content.added; n != w.contacts() {
		return goneImport(ErrLostLease)
	}
	return nil
}

// copyPiece is how many contacts are copied at a time, so that nobody waits long
// for the writer.
const copyPiece = 20_000

// copyBase copies what stays of the base as it is, inside the database.
func (w *ListWriter) copyBase(ctx context.Context) error {
	if w.mode == Replaced || w.first == 0 {
		return nil
	}
	copied := 0
	for from := w.first; from <= w.last; from += copyPiece {
		to := min(from+copyPiece-1, w.last)
		var n int64
		err := w.l.writeLoosely(ctx, crashpoint.ImportChunk, func(tx *tx) error {
			if err := w.renew(ctx, tx); err != nil {
				return err
			}
			// A contact that was written anew lies there already.
			res, err := tx.exec.ExecContext(ctx, `INSERT INTO contacts (id, list_id, line, phone, data)
				SELECT k.id + $1, CAST($2 AS BIGINT), k.line, k.phone, k.data FROM contacts k WHERE k.list_id = $3 AND k.id BETWEEN $4 AND $5
				ON CONFLICT (id) DO NOTHING`, w.shift, w.id, w.base.ID, from, to)
			if err != nil {
				return fmt.Errorf("copying the list: %w", err)
			}
			if n, err = res.RowsAffected(); err != nil {
				return err
			}
			var out []int64
			for id := from; w.left > 0 && id <= to; id++ {
				if w.dropped.has(id - w.first) {
					out = append(out, id+w.shift)
				}
			}
			return deleteContacts(ctx, tx, out)
		})
		if err != nil {
			return err
		}
		copied += int(n)
	}
	if copied+w.replaced != w.read {
		return w.superseded() // its contacts are being deleted
	}
	return nil
}

// takeName takes the name from the base, and says it and the number of the new
// version. Without a base the list has its name already.
func (w *ListWriter) takeName(ctx context.Context, tx *tx) (name any, version int64, err error) {
	if w.base == nil {
		return name, 1, nil
	}
	// The update comes first: it waits for a campaign that is being created from
	// the base, and for another change.
	err = oneRow(tx.exec.ExecContext(ctx, `UPDATE lists SET name = NULL, state = 'retired', lease_until = 0 WHERE id = $1 AND state = 'ready' AND name = $2`,
		w.base.ID, w.base.Name))
	if errors.Is(err, ErrLostLease) {
		return name, 0, w.superseded()
	}
	if err != nil {
		return name, 0, fmt.Errorf("writing the list: %w", err)
	}
	return nullString(w.base.Name), int64(w.base.Version) + 1, nil
}

// Tidy deletes the version that Finish put this one in the place of, unless a
// campaign was planned from it. What it leaves undone, the next start does.
func (w *ListWriter) Tidy(ctx context.Context) error {
	if w.base == nil {
		return nil
	}
	var unneeded bool
	err := w.l.store.read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM lists WHERE id = $1 AND state = 'retired'
		AND NOT EXISTS (SELECT 1 FROM campaigns WHERE list_id = $1))`, w.base.ID).Scan(&unneeded)
	if err != nil {
		return fmt.Errorf("looking for campaigns of list %d: %w", w.base.ID, err)
	}
	if !unneeded {
		return nil
	}
	return w.l.dropList(ctx, w.base.ID)
}

// bitset is a set of small numbers.
type bitset []uint64

func (b *bitset) add(i int64) {
	for int64(len(*b)) <= i>>6 {
		*b = append(*b, 0)
	}
	(*b)[i>>6] |= 1 << (i & 63)
}

func (b bitset) has(i int64) bool { return i>>6 < int64(len(b)) && b[i>>6]&(1<<(i&63)) != 0 }
