package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
)

func TestFilesAreKeptOnceUnderTheirHash(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		content := bytes.Repeat([]byte("%PDF-1.7 \x00\xff"), 1000)
		f, err := w.l.StoreFile(w.ctx, "letter.pdf", "pdf", content)
		w.ok(err)
		again, err := w.l.StoreFile(w.ctx, "copy.pdf", "pdf", content)
		w.ok(err)
		w.equal(again.SHA256, f.SHA256)
		w.equal(w.rows("files"), 1)
		got, read, err := w.l.ReadFile(w.ctx, f.SHA256)
		w.ok(err)
		w.equal(got, campaign.File{SHA256: f.SHA256, Name: "letter.pdf", Type: "pdf", Size: int64(len(content))})
		if !bytes.Equal(read, content) {
			t.Error("other bytes came back")
		}
		_, _, err = w.l.ReadFile(w.ctx, "0000000000000000")
		w.code(err, campaign.CodeNotFound)
		empty, err := w.l.StoreFile(w.ctx, "empty", "", nil)
		w.ok(err)
		_, read, err = w.l.ReadFile(w.ctx, empty.SHA256)
		w.ok(err)
		w.equal(len(read), 0)

		var g errgroup.Group
		for range 4 {
			g.Go(func() error {
				_, err := w.l.StoreFile(w.ctx, "same.pdf", "pdf", []byte("%PDF-same"))
				return err
			})
		}
		w.ok(g.Wait())
		w.equal(w.rows("files"), 3)

		w.ok(w.l.store.write(w.ctx, func(tx *tx) error {
			_, err := tx.exec.ExecContext(w.ctx, `UPDATE files SET content = $1 WHERE sha256 = $2`, []byte("tampered"), f.SHA256)
			return err
		}))
		_, _, err = w.l.ReadFile(w.ctx, f.SHA256)
		w.code(err, campaign.CodeInternal)
	})
}

func TestAFileKeepsWhatItWasFoundToBe(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		content := []byte("%PDF-checked")
		stored, err := w.l.StoreFile(w.ctx, "a.pdf", "pdf", content)
		w.ok(err)
		w.equal(stored.Pages, 0)
		checked := campaign.File{Name: "a.pdf", Type: "pdf", Pages: 3, PageSize: "A4"}
		f, err := w.l.StoreChecked(w.ctx, checked, content) // stored before it was checked
		w.ok(err)
		w.equal(f.Pages, 3)
		want := campaign.File{SHA256: f.SHA256, Name: "a.pdf", Type: "pdf", Size: int64(len(content)), Pages: 3, PageSize: "A4"}
		w.equal(f, want)
		found, there, err := w.l.FindFile(w.ctx, f.SHA256)
		w.ok(err)
		w.equal(there, true)
		w.equal(found, want)
		read, _, err := w.l.ReadFile(w.ctx, f.SHA256)
		w.ok(err)
		w.equal(read, want)

		again, err := w.l.StoreFile(w.ctx, "b.pdf", "pdf", content) // and is not forgotten
		w.ok(err)
		w.equal(again.Pages, 3)
		w.equal(again.PageSize, "A4")
		w.equal(w.rows("files"), 1)

		_, there, err = w.l.FindFile(w.ctx, strings.Repeat("0", 64))
		w.ok(err)
		w.equal(there, false)
	})
}

func TestFilesInASharedFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "files")
	w := newWorld(t, filepath.Join(t.TempDir(), "ledger.db"), dir)
	other, err := Open(w.ctx, w.target, Options{FileDir: dir})
	w.ok(err)
	defer other.Close()
	f, err := w.l.StoreFile(w.ctx, "a.pdf", "pdf", []byte("%PDF-a"))
	w.ok(err)
	_, content, err := other.ReadFile(w.ctx, f.SHA256)
	w.ok(err)
	w.equal(string(content), "%PDF-a")

	path := filepath.Join(dir, f.SHA256)
	w.ok(os.WriteFile(path, []byte("tampered"), 0o600))
	_, _, err = other.ReadFile(w.ctx, f.SHA256)
	w.code(err, campaign.CodeInternal)
	w.ok(os.Remove(path))
	_, _, err = other.ReadFile(w.ctx, f.SHA256)
	w.code(err, campaign.CodeNotFound)
	_, err = w.l.StoreFile(w.ctx, "a.pdf", "pdf", []byte("%PDF-a"))
	w.ok(err)
	_, _, err = other.ReadFile(w.ctx, f.SHA256)
	w.ok(err)
	left, err := os.ReadDir(dir)
	w.ok(err)
	w.equal(len(left), 1)
}
