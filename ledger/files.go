package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postrider/postrider/campaign"
)

// StoreFile keeps the bytes of a file that a plan refers to, by their SHA-256,
// once. Exactly these are uploaded when a batch leaves.
func (l *Ledger) StoreFile(ctx context.Context, name, mediaType string, content []byte) (campaign.File, error) {
	sum := sha256.Sum256(content)
	f := campaign.File{SHA256: hex.EncodeToString(sum[:]), Name: name, Type: mediaType, Size: int64(len(content))}
	var inLedger bool
	err := l.store.read().QueryRowContext(ctx, `SELECT content IS NOT NULL FROM files WHERE sha256 = $1`, f.SHA256).Scan(&inLedger)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return f, fmt.Errorf("looking for a stored file: %w", err)
	case inLedger:
		return f, nil
	case l.fileDir != "":
		// In the shared folder, from which it may have gone since.
		if _, err := os.Stat(filepath.Join(l.fileDir, f.SHA256)); err == nil {
			return f, nil
		}
	}
	var blob any = content
	if l.fileDir != "" {
		blob = nil
		if err := writeShared(filepath.Join(l.fileDir, f.SHA256), content); err != nil {
			return f, fmt.Errorf("storing a file in the shared folder: %w", err)
		}
	}
	err = l.store.write(ctx, func(tx *tx) error {
		now, err := l.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.exec.ExecContext(ctx, `INSERT INTO files (sha256, name, type, size, content, created_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (sha256) DO UPDATE SET content = COALESCE(files.content, excluded.content)`,
			f.SHA256, f.Name, f.Type, f.Size, blob, now)
		return err
	})
	if err != nil {
		return f, fmt.Errorf("storing a file: %w", err)
	}
	return f, nil
}

// writeShared writes a file whole or not at all.
func writeShared(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "incoming-*")
	if err != nil {
		return err
	}
	_, werr := tmp.Write(content)
	if err := errors.Join(werr, tmp.Sync(), tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), path)
}

// ReadFile returns the bytes of a stored file, after checking that they are
// still the ones that were approved.
func (l *Ledger) ReadFile(ctx context.Context, sha string) (campaign.File, []byte, error) {
	f := campaign.File{SHA256: sha}
	var content []byte
	err := l.store.read().QueryRowContext(ctx, `SELECT name, type, size, content FROM files WHERE sha256 = $1`, sha).Scan(&f.Name, &f.Type, &f.Size, &content)
	if errors.Is(err, sql.ErrNoRows) {
		return f, nil, campaign.Errorf(campaign.CodeNotFound, "the file %.12s… of the plan is not in the ledger", sha)
	}
	if err != nil {
		return f, nil, fmt.Errorf("reading a stored file: %w", err)
	}
	if content == nil && f.Size > 0 {
		if content, err = os.ReadFile(filepath.Join(l.fileDir, sha)); errors.Is(err, fs.ErrNotExist) {
			return f, nil, campaign.Errorf(campaign.CodeNotFound, "the file %.12s… of the plan is not in the shared folder (file_dir): every worker needs the same folder", sha)
		} else if err != nil {
			return f, nil, fmt.Errorf("reading a stored file: %w", err)
		}
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != sha {
		return f, nil, campaign.Errorf(campaign.CodeInternal, "the stored file %.12s… is not the one that was approved: it was changed or damaged", sha)
	}
	return f, content, nil
}
