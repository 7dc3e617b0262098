package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
)

// A home tells a ledger from a copy of it. It is a place, and where that can be
// had a mark after a comma that says which of all such places:
//
//	inode 1835011, born 1767225600.123456789    a SQLite file
//	database 16384, cluster 7234567890123456789 PostgreSQL
//
// A file that is moved within its file system keeps both its inode and its
// birth, and nobody can give a copy the birth of its original. The device
// number is no part of it: it changes when the machine starts anew. A copy of
// the whole disk, a snapshot and a PostgreSQL replica have the home of what
// they are copies of, and are not told from it; docs/operations.md says so. Where the file
// system keeps no birth (NFS and some FUSE), inode numbers are often made up at
// every mount and say nothing; where the system does not tell even those, the
// home is "". Then no copy is noticed, and nobody is alarmed for nothing.
type home string

// parts are the place and the mark of a home; the mark may be empty.
func (h home) parts() (place, mark string) {
	place, mark, _ = strings.Cut(string(h), ", ")
	return place, mark
}

// isCopyOf reports whether a ledger that is at home here and says that it was
// at home there must be a copy.
func (h home) isCopyOf(was home) bool {
	if was == "" || was == h {
		return false
	}
	place, mark := h.parts()
	wasPlace, wasMark := was.parts()
	switch {
	case mark == "" && wasMark == "" && strings.HasPrefix(place, "inode ") && strings.HasPrefix(wasPlace, "inode "):
		return false // made up at every mount, perhaps
	case mark == "" || wasMark == "":
		return place != wasPlace // the same place, of which more or less is known now
	}
	return true
}

// settleIn reads who the ledger is, and holds its home against where it is
// found. A copy is quarantined before anybody can use it.
func (l *Ledger) settleIn(ctx context.Context) error {
	here, restored, err := l.store.home(ctx)
	if err != nil {
		return fmt.Errorf("finding out where the ledger lies: %w", err)
	}
	var was home
	if err := l.store.read().QueryRowContext(ctx, `SELECT id, home FROM ledger WHERE one = 1`).Scan(&l.id, &was); err != nil {
		return fmt.Errorf("reading the ledger's id: %w", err)
	}
	if was != here || restored != "" {
		if err := l.store.write(ctx, func(tx *tx) error { return l.moveIn(ctx, tx, here, restored) }); err != nil {
			return err
		}
	}
	return l.readFormerIDs(ctx)
}

// moveIn writes where the ledger is at home now. restored, when not empty, is
// what a restore into this database has left.
func (l *Ledger) moveIn(ctx context.Context, tx *tx, here home, restored string) error {
	var (
		was    home
		reason string
	)
	if err := tx.exec.QueryRowContext(ctx, `SELECT home, quarantine FROM ledger WHERE one = 1`+l.store.forUpdate()).Scan(&was, &reason); err != nil {
		return fmt.Errorf("reading the ledger's home: %w", err)
	}
	if restored != "" {
		if err := l.quarantine(ctx, tx, restored); err != nil {
			return err
		}
		if _, err := tx.exec.ExecContext(ctx, `DROP TABLE IF EXISTS `+restoringTable); err != nil {
			return fmt.Errorf("ending a restore: %w", err)
		}
	} else if reason == "" && here.isCopyOf(was) {
		if err := l.quarantine(ctx, tx, reasonCopied); err != nil {
			return err
		}
	}
	place, mark := here.parts()
	if wasPlace, wasMark := was.parts(); place == wasPlace && mark == "" && wasMark != "" {
		return nil // more was known of the same place before
	}
	if _, err := tx.exec.ExecContext(ctx, `UPDATE ledger SET home = $1 WHERE one = 1`, string(here)); err != nil {
		return fmt.Errorf("recording the ledger's home: %w", err)
	}
	return nil
}

// Quarantine says why nothing may leave a ledger: it may not know of everything
// that was sent in its name. The zero value is none.
type Quarantine struct {
	Reason string // in words, without a full stop
	Since  time.Time
}

// reasonCopied is the reason of a ledger that is not where it was.
const reasonCopied = "it is a copy of another ledger"

// Why nothing may be sent from the ledger as a whole.
var (
	// ErrQuarantined: until `postrider audit --repair` has adopted what the
	// provider's history shows.
	ErrQuarantined = errors.New("the ledger is quarantined")
	// ErrFormerID: the ledger has got a new id since this process opened it. A
	// message under the old one might be taken for another's.
	ErrFormerID = errors.New("the ledger has got a new id since this process opened it: start the process again")
)

// Err is nil when there is no quarantine, and else an Error with CodeConflict
// that tells a person why nothing leaves and what to do. It wraps
// ErrQuarantined.
func (q Quarantine) Err() error {
	if q.Reason == "" {
		return nil
	}
	return campaign.Errorf(campaign.CodeConflict,
		"%w, since %s: nothing leaves it before `postrider audit --repair` has adopted what the provider's history shows", ErrQuarantined, q.Reason)
}

// Quarantine reads whether the ledger is quarantined, and why.
func (l *Ledger) Quarantine(ctx context.Context) (Quarantine, error) {
	return readQuarantine(ctx, l.store.read())
}

func readQuarantine(ctx context.Context, q execer) (Quarantine, error) {
	var (
		found Quarantine
		since int64
	)
	if err := q.QueryRowContext(ctx, `SELECT quarantine, quarantined_at FROM ledger WHERE one = 1`).Scan(&found.Reason, &since); err != nil {
		return Quarantine{}, fmt.Errorf("asking whether the ledger is quarantined: %w", err)
	}
	found.Since = fromMillis(since)
	return found, nil
}

// SetQuarantine lets nothing leave from now on, for a reason in words. A later
// reason takes the place of an earlier one.
func (l *Ledger) SetQuarantine(ctx context.Context, reason string) error {
	return l.store.write(ctx, func(tx *tx) error { return l.quarantine(ctx, tx, reason) })
}

func (l *Ledger) quarantine(ctx context.Context, tx *tx, reason string) error {
	now, err := l.now(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.exec.ExecContext(ctx, `UPDATE ledger SET quarantine = $1, quarantined_at = $2 WHERE one = 1`, reason, now); err != nil {
		return fmt.Errorf("quarantining the ledger: %w", err)
	}
	return nil
}

// LiftQuarantine lets the ledger send again, under a new id, which it returns:
// should what it was copied from live on, or should messages of a forgotten
// life come to light later, nobody takes them for this one's. This Ledger and
// every other that is open keep the old id, under which nothing can be sent
// any more: open it anew. An Error with CodeConflict when there is no
// quarantine.
func (l *Ledger) LiftQuarantine(ctx context.Context) (string, error) {
	random := make([]byte, campaign.LedgerIDLen/2)
	rand.Read(random) //nolint:errcheck // it never fails (crypto/rand)
	id := hex.EncodeToString(random)
	err := l.store.write(ctx, func(tx *tx) error {
		var old, reason string
		if err := tx.exec.QueryRowContext(ctx, `SELECT id, quarantine FROM ledger WHERE one = 1`+l.store.forUpdate()).Scan(&old, &reason); err != nil {
			return fmt.Errorf("reading the ledger's id: %w", err)
		}
		if reason == "" {
			return campaign.Errorf(campaign.CodeConflict, "the ledger is not quarantined: there is nothing to lift")
		}
		_, err := tx.exec.ExecContext(ctx, `INSERT INTO former_ids (id, recipients_below) SELECT $1, next FROM ids WHERE name = 'recipient'`, old)
		if err != nil {
			return fmt.Errorf("keeping the ledger's former id: %w", err)
		}
		if _, err := tx.exec.ExecContext(ctx, `UPDATE ledger SET id = $1, quarantine = '', quarantined_at = 0 WHERE one = 1`, id); err != nil {
			return fmt.Errorf("giving the ledger a new id: %w", err)
		}
		if err := l.skipQuarantinedRuns(ctx, tx); err != nil {
			return err
		}
		return forgetDispatches(ctx, tx) // its queues have new names
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// formerID is an id the ledger had.
type formerID struct {
	id    string
	below int64 // of recipients
}

func (l *Ledger) readFormerIDs(ctx context.Context) error {
	rows, err := l.store.read().QueryContext(ctx, `SELECT id, recipients_below FROM former_ids`)
	if err != nil {
		return fmt.Errorf("reading the ledger's former ids: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var f formerID
		if err := rows.Scan(&f.id, &f.below); err != nil {
			return fmt.Errorf("reading the ledger's former ids: %w", err)
		}
		l.former = append(l.former, f)
	}
	return rows.Err()
}

// ParseReference reads a reference that a message of this ledger bears, under
// its id or, for recipients who were planned then, a former one. It reports
// false for everything else: such a row is not ours.
func (l *Ledger) ParseReference(s string) (campaign.Reference, bool) {
	if r, ok := campaign.ParseReference(s, l.id); ok {
		return r, true
	}
	for _, f := range l.former {
		if r, ok := campaign.ParseReference(s, f.id); ok {
			return r, r.Recipient < f.below
		}
	}
	return campaign.Reference{}, false
}

// mayLeave is nil when the ledger, whose id and quarantine were just read, lets
// messages of this process leave; else ErrFormerID or ErrQuarantined.
func (l *Ledger) mayLeave(id, quarantine string) error {
	switch {
	case id != l.id:
		return ErrFormerID
	case quarantine != "":
		return ErrQuarantined
	}
	return nil
}

// refuseQuarantined is the error of a write that would let messages leave.
func (l *Ledger) refuseQuarantined(ctx context.Context, tx *tx) error {
	q, err := readQuarantine(ctx, tx.exec)
	if err != nil {
		return err
	}
	return q.Err()
}
