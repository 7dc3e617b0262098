package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Push is the copy of a list at the provider.
type Push struct {
	List       string // its name: a list has another id with every change
	Provider   Provider
	RemoteName string // of the provider's list
	// RemoteID is the provider's list; 0 when it was asked to make the list and
	// has not been heard to have done so.
	RemoteID int64
	Created  time.Time
}

// BeginPush records that the provider is about to be asked for a list of that
// name. A record that is there stays as it is.
func (l *Ledger) BeginPush(ctx context.Context, list string, p Provider, remoteName string) error {
	err := l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.exec.ExecContext(ctx, `INSERT INTO pushes (list_name, provider_url, provider_user, remote_name, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (list_name, provider_url, provider_user, remote_name) DO NOTHING`, list, p.URL, p.User, remoteName, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("recording where list %q is copied to: %w", list, err)
	}
	return nil
}

// SetPushed records which list the provider has made.
func (l *Ledger) SetPushed(ctx context.Context, list string, p Provider, remoteName string, remoteID int64) error {
	err := l.store.write(ctx, func(tx *tx) error {
		_, err := tx.exec.ExecContext(ctx, `UPDATE pushes SET remote_id = $1 WHERE list_name = $2 AND provider_url = $3 AND provider_user = $4 AND remote_name = $5`,
			remoteID, list, p.URL, p.User, remoteName)
		return err
	})
	if err != nil {
		return fmt.Errorf("recording where list %q is copied to: %w", list, err)
	}
	return nil
}

// FindPush reads where a list was copied to under that name; nil when it was
// not.
func (l *Ledger) FindPush(ctx context.Context, list string, p Provider, remoteName string) (*Push, error) {
	push := Push{List: list, Provider: p, RemoteName: remoteName}
	var created int64
	err := l.store.read().QueryRowContext(ctx, `SELECT remote_id, created_at FROM pushes WHERE list_name = $1 AND provider_url = $2 AND provider_user = $3 AND remote_name = $4`,
		list, p.URL, p.User, remoteName).Scan(&push.RemoteID, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading where list %q was copied to: %w", list, err)
	}
	push.Created = fromMillis(created)
	return &push, nil
}

// ForgetPushes forgets every copy that was made to a list of the provider which
// is not there any more.
func (l *Ledger) ForgetPushes(ctx context.Context, p Provider, remoteID int64) error {
	err := l.store.write(ctx, func(tx *tx) error {
		_, err := tx.exec.ExecContext(ctx, `DELETE FROM pushes WHERE provider_url = $1 AND provider_user = $2 AND remote_id = $3`, p.URL, p.User, remoteID)
		return err
	})
	if err != nil {
		return fmt.Errorf("forgetting the copies on the provider's list %d: %w", remoteID, err)
	}
	return nil
}
