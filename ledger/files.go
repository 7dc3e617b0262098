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
	return l.StoreChecked(ctx, campaign.File{Name: name, Type: mediaType}, content)
}

// StoreChecked is StoreFile for a file that was looked into: its pages and
// their size are kept with it. Hash and size are those of the content.
func (l *Ledger) StoreChecked(ctx context.Context, f campaign.File, content []byte) (campaign.File, error) {
	sum := sha256.Sum256(content)
	f.SHA256, f.Size = hex.EncodeToString(sum[:]), int64(len(content))
	known, stored, err := l.FindFile(ctx, f.SHA256)
	switch {
	case err != nil:
		return f, err
	case stored && (f.Pages == 0 || known.Pages == f.Pages && known.PageSize == f.PageSize):
		f.Pages, f.PageSize = known.Pages, known.PageSize
		return f, nil
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
		_, err = tx.exec.ExecContext(ctx, `INSERT INTO files (sha256, name, type, size, content, created_at, pages, page_size) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (sha256) DO UPDATE SET content = COALESCE(files.content, excluded.content),
				page_size = CASE WHEN excluded.pages > 0 THEN excluded.page_size ELSE files.page_size END,
				pages = CASE WHEN excluded.pages > 0 THEN excluded.pages ELSE files.pages END`,
			f.SHA256, f.Name, f.Type, f.Size, blob, now, f.Pages, f.PageSize)
		return err
	})
	if err != nil {
		return f, fmt.Errorf("storing a file: %w", err)
	}
	return f, nil
}

// FindFile tells what is known of a stored file, and whether its bytes are in
// the ledger or in the shared folder, from which they may have gone since.
func (l *Ledger) FindFile(ctx context.Context, sha string) (f campaign.File, stored bool, err error) {
	f.SHA256 = sha
	var inLedger bool
	err = l.store.read().QueryRowContext(ctx, `SELECT name, type, size, pages, page_size, content IS NOT NULL FROM files WHERE sha256 = $1`, sha).
		Scan(&f.Name, &f.Type, &f.Size, &f.Pages, &f.PageSize, &inLedger)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return f, false, nil
	case err != nil:
		return f, false, fmt.Errorf("looking for a stored file: %w", err)
	case inLedger:
		return f, true, nil
	case l.fileDir != "":
		_, err := os.Stat(filepath.Join(l.fileDir, sha))
		return f, err == nil, nil
	}
	return f, false, nil
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
	err := l.store.read().QueryRowContext(ctx, `SELECT name, type, size, pages, page_size, content FROM files WHERE sha256 = $1`, sha).
		Scan(&f.Name, &f.Type, &f.Size, &f.Pages, &f.PageSize, &content)
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
