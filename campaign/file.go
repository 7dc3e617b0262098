package campaign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
)

// File is a file that is sent: one whose bytes are stored with the plan, known
// by their hash, or a foreign one that the provider fetches from URL.
type File struct {
	SHA256 string `json:"sha256,omitempty"` // 64 lower-case hexadecimal digits
	Name   string `json:"name,omitempty"`   // base name, for people
	Size   int64  `json:"size,omitempty"`   // bytes
	Type   string `json:"type,omitempty"`   // as FileType names it: pdf, jpg
	URL    string `json:"url,omitempty"`    // set for a foreign file; the rest may then be empty
	// Pages is how many pages a PDF has; 0 when it is not known: a file that the
	// provider converts, or fetches itself.
	Pages int `json:"pages,omitempty"`
	// PageSize is the size that all pages of a PDF have: A4, A5, or width and
	// height in mm; empty when they differ or are not known.
	PageSize string `json:"page_size,omitempty"`
}

// NewFile reads a file to its end and describes it: hash, size and the type
// its first bytes show. The name is only taken into the description.
func NewFile(name string, r io.Reader) (File, error) {
	h := sha256.New()
	var head bytes.Buffer
	n, err := io.Copy(io.MultiWriter(h, &headWriter{&head, 512}), r)
	if err != nil {
		return File{}, fmt.Errorf("reading %s: %w", path.Base(name), err)
	}
	return File{
		SHA256: hex.EncodeToString(h.Sum(nil)),
		Name:   path.Base(strings.ReplaceAll(name, `\`, "/")),
		Size:   n,
		Type:   FileType(name, head.Bytes()),
	}, nil
}

// headWriter keeps the first bytes written to it.
type headWriter struct {
	head *bytes.Buffer
	room int
}

func (w *headWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.head.Write(p[:n])
	w.room -= n
	return len(p), nil
}

// FileType tells what a file is by its first bytes, of which 16 are enough:
// pdf, jpg, gif, png, bmp, docx or doc; empty when none of these. The
// extension only decides between the kinds of Office file, which begin alike.
func FileType(name string, head []byte) string {
	ext := strings.ToLower(path.Ext(name))
	for _, t := range []struct{ magic, ext, name string }{
		{"%PDF-", "", "pdf"},
		{"\xff\xd8\xff", "", "jpg"},
		{"GIF87a", "", "gif"},
		{"GIF89a", "", "gif"},
		{"\x89PNG\r\n\x1a\n", "", "png"},
		{"BM", ".bmp", "bmp"},
		{"PK\x03\x04", ".docx", "docx"},
		{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".doc", "doc"},
	} {
		if bytes.HasPrefix(head, []byte(t.magic)) && (t.ext == "" || t.ext == ext) {
			return t.name
		}
	}
	return ""
}

// Key identifies the file within a plan: its hash, or a foreign file's URL.
func (f *File) Key() string {
	if f.URL != "" {
		return f.URL
	}
	return f.SHA256
}

// mmsTypes are the pictures an MMS can carry. The names in the documents' list
// are lost (shared/api/semantics.md, section 13), but its examples send gif
// and jpg as they are; the others are converted by the upload (convert=mms),
// through which every stored file goes.
func mmsTypes() []string { return []string{"jpg", "gif", "png", "bmp"} }

// postTypes are the files a letter or postcard can be printed from: pdf as it
// is, the others converted by the upload (sections 15 and 16, the newest and
// widest list).
func postTypes() []string { return []string{"pdf", "docx", "doc", "jpg", "gif", "png", "bmp"} }

// FileTypes are the types of file, as FileType names them, that a channel can
// have; none for SMS.
func FileTypes(ch Channel) []string {
	switch {
	case ch == MMS:
		return mmsTypes()
	case ch.IsPost():
		return postTypes()
	}
	return nil
}

// PostcardPages tells how many pages each of a postcard's files is to have, and
// whether one with so many pages will do; 0 pages are not known, and do
// (shared/api/semantics.md, section 10: one PDF of two pages, or two PDFs).
func PostcardPages(files, pages int) (want int, ok bool) {
	want = 1
	if files == 1 {
		want = 2
	}
	return want, pages == 0 || pages == want
}

// PostcardPagesText says what is wrong with the number of pages of one of a
// postcard's files.
func PostcardPagesText(files, pages int) string {
	if files == 1 {
		return fmt.Sprintf("the PDF has %s, and a postcard's only file has two, front and back: add the missing side or leave out what is too much, or give two files of one page each", pagesText(pages))
	}
	return fmt.Sprintf("the PDF has %s, and of a postcard's two files each has one (front, then back): make a file of each side, or give one file of two pages", pagesText(pages))
}

// Warnings are what a person should know of the file before saying yes, though
// it can be sent. The provider's documents name no size for a postcard; their
// example files are called a5_front.pdf and a5_back.pdf
// (shared/api/semantics.md, section 30.7), so that another is only warned of.
func (f *File) Warnings(ch Channel) []string {
	switch {
	case !ch.IsPost() || f.URL != "":
	case f.Type != "pdf":
		return []string{fmt.Sprintf("%s: the provider converts %s files to PDF, so that its pages are not known before; only PDF is printed exactly as it is", f.Name, f.Type)}
	case ch == Postcard && f.Pages > 0 && f.PageSize != "A5":
		found := "of differing sizes"
		if f.PageSize != "" {
			found = f.PageSize
		}
		return []string{fmt.Sprintf("%s: its pages are %s; the provider's example postcards are A5 (148 × 210 mm), and it does not say what becomes of others", f.Name, found)}
	}
	return nil
}

func pagesText(n int) string {
	if n == 1 {
		return "1 page"
	}
	return fmt.Sprintf("%d pages", n)
}

// check adds what is wrong with the file for the channel.
func (f *File) check(field string, ch Channel, ps *Problems) {
	types, asTheyAre := postTypes(), []string{"pdf"}
	if ch == MMS {
		types, asTheyAre = mmsTypes(), []string{"jpg", "gif"}
	}
	if f.URL != "" {
		f.checkURL(field, asTheyAre, ps)
		return
	}
	name := f.Name
	if name == "" {
		name = "the file"
	}
	switch {
	case len(f.SHA256) != 64 || strings.Trim(f.SHA256, "0123456789abcdef") != "":
		ps.add(field, "%s has no hash and no URL: it was never stored", name)
	case f.Size <= 0:
		ps.add(field, "%s is empty", name)
	case !slices.Contains(types, f.Type):
		ps.add(field, "%s is not of a type that %s can have: use %s", name, one(ch), strings.Join(types, ", "))
	case ch == MMS && f.Size > MaxMediaSize:
		ps.add(field, "%s has %d bytes, and an MMS file at most %d (250 kB): make it smaller", name, f.Size, MaxMediaSize)
	}
}

// one names a message of a channel with its article.
func one(ch Channel) string {
	if ch == MMS {
		return "an MMS"
	}
	return "a " + ch.String()
}

// checkURL checks a foreign file by its address, which is all we have of it.
func (f *File) checkURL(field string, asTheyAre []string, ps *Problems) {
	u, err := url.Parse(f.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsAny(f.URL, " \t\r\n"):
		ps.add(field, "the URL is not one the provider can fetch: give a public http or https address, or a file")
		return
	case u.User != nil:
		ps.add(field, "the URL has a user name or password in it, and the provider fetches public addresses only: give the file itself")
		return
	}
	ext := strings.TrimPrefix(strings.ToLower(path.Ext(u.Path)), ".")
	if ext == "jpeg" {
		ext = "jpg"
	}
	known := slices.Contains(postTypes(), ext) || slices.Contains(mmsTypes(), ext)
	if known && !slices.Contains(asTheyAre, ext) {
		ps.add(field, "a %s file cannot be fetched from a URL as it is (only %s): give the file itself, and it is converted when uploaded", ext, strings.Join(asTheyAre, ", "))
	}
	if f.Size > MaxMediaSize && field == "media" {
		ps.add(field, "the file has %d bytes, and an MMS file at most %d (250 kB): make it smaller", f.Size, MaxMediaSize)
	}
}
