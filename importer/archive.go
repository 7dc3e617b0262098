package importer

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// Limits of what is unpacked. Deflate packs no better than 1,032 to 1, which
// only a bomb comes near; lists pack 3 to 20 to 1, and the sheets of workbooks,
// which repeat themselves, up to 100 to 1.
const (
	mostUnpacked = 8 << 30  // bytes, when Options.MaxUnpacked is 0
	mostRatio    = 200      // unpacked to packed, once so much was unpacked:
	ratioFrom    = 32 << 20 // bytes
	mostSpooled  = 2 << 30  // bytes of a temporary file
)

// unpacking is a packed file as it is unpacked, within limits.
type unpacking struct {
	r      io.Reader
	what   string       // for messages: gzip, zip, xlsx
	packed func() int64 // bytes of the packed file that were read
	size   int64        // bytes it will unpack to, as it says itself; 0: nobody knows
	most   int64        // bytes to unpack
	count  int64        // bytes that were unpacked
	err    error
}

func (u *unpacking) Read(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.r.Read(p)
	u.count += int64(n)
	switch {
	case u.count > u.most:
		err = problemf("unpacked, the file is larger than %s, which is the most that is read: is it a list of contacts? Split it", byteSize(u.most))
	case u.count > ratioFrom && u.count/mostRatio > u.packed():
		err = problemf("the file unpacks to more than %d times its size, as no list of contacts does and a bomb would: pack it again, or unpack it first", mostRatio)
	case err != nil && !errors.Is(err, io.EOF):
		err = unpackProblem(u.what, err)
	}
	u.err = err
	return n, err
}

// unpackProblem says in words what is wrong with a packed file.
func unpackProblem(what string, err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return problemf("the file (%s) ends too early, a part of it is missing: copy or download it again; nothing was imported", what)
	case errors.Is(err, gzip.ErrHeader):
		return problemf("the file (%s) goes on with something that is not packed, or is damaged: copy or download it again; nothing was imported", what)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrFormat), errors.As(err, &corrupt):
		return problemf("the file (%s) is damaged: copy or download it again; nothing was imported", what)
	case errors.Is(err, zip.ErrAlgorithm):
		return problemf("the file (%s) is packed in a way that is not read: pack it again as an ordinary zip (Deflate)", what)
	}
	return err
}

// done is how much of a packed file of so many bytes has been read when so much
// of its member was unpacked.
func (u *unpacking) done(of int64) int64 {
	if u.size == 0 {
		return of
	}
	return int64(float64(of) * min(1, float64(u.count)/float64(u.size)))
}

func byteSize(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

func isGzip(head []byte) bool { return bytes.HasPrefix(head, []byte("\x1f\x8b")) }

func isZip(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06")) || bytes.HasPrefix(head, []byte("PK\x07\x08"))
}

// randomAccess is a file that can be read anywhere: the one that r is, from
// where it stands, when r is a regular file; nil otherwise.
func randomAccess(r io.Reader) *io.SectionReader {
	f, ok := r.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil || at > info.Size() {
		return nil
	}
	return io.NewSectionReader(f, at, info.Size()-at)
}

// spool copies r into a temporary file that only its owner can read, and that
// has no name any more where the system allows. Close removes it.
func spool(ctx context.Context, r io.Reader, dir string) (section *io.SectionReader, closer func() error, err error) {
	f, err := os.CreateTemp(dir, "postrider-import-*") // with mode 0600
	if err != nil {
		return nil, nil, fmt.Errorf("a zip archive or workbook that does not come from a file is kept in a temporary one: %w", err)
	}
	unlinked := os.Remove(f.Name()) == nil
	closer = func() error {
		err := f.Close()
		if !unlinked {
			err = errors.Join(err, os.Remove(f.Name()))
		}
		return err
	}
	n, err := io.Copy(f, io.LimitReader(inContext{ctx, r}, mostSpooled+1))
	if err == nil && n > mostSpooled {
		err = problemf("the archive or workbook is larger than %s, which is the most that is read from standard input or out of another archive: unpack it first", byteSize(mostSpooled))
	}
	if err != nil {
		return nil, nil, errors.Join(err, closer())
	}
	return io.NewSectionReader(f, 0, n), closer, nil
}

// inContext is a reader that ends with its context.
type inContext struct {
	ctx context.Context
	r   io.Reader
}

func (c inContext) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// archive is an open zip file: a packed list, or a workbook.
type archive struct {
	zip  *zip.Reader
	size int64 // of the zip file, in bytes
	most int64 // bytes to unpack of one member
	what string
}

func openArchive(section *io.SectionReader, most int64) (*archive, error) {
	z, err := zip.NewReader(section, section.Size())
	switch {
	case errors.Is(err, zip.ErrFormat):
		return nil, problem("this begins like a zip archive or a workbook (xlsx) and is damaged, or its end is missing: copy or download it again; nothing was imported")
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // nothing is ever written to where the archive says
		return nil, unpackProblem("zip", err)
	}
	return &archive{zip: z, size: section.Size(), most: most, what: "zip"}, nil
}

// has reports whether there is a member of that name.
func (a *archive) has(name string) bool { return a.find(name) != nil }

// find returns a member by its name; nil when there is none.
func (a *archive) find(name string) *zip.File {
	for _, f := range a.zip.File {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// kind says what a zip file is by what is in it: zip, xlsx, or a problem.
func (a *archive) kind() (string, error) {
	const save = ", which is not read: open it and save it as xlsx or CSV UTF-8"
	begins := func(prefix string) bool {
		return slices.ContainsFunc(a.zip.File, func(f *zip.File) bool { return strings.HasPrefix(f.Name, prefix) })
	}
	mimetype := ""
	if f := a.find("mimetype"); f != nil {
		if r, err := a.open(f); err == nil {
			b, _ := io.ReadAll(io.LimitReader(r, 100)) // what cannot be read is no mimetype
			mimetype = string(b)
		}
	}
	switch {
	case a.has("xl/workbook.bin"):
		return "", problem("this is a binary workbook (xlsb)" + save)
	case strings.Contains(mimetype, "opendocument.spreadsheet"):
		return "", problem("this is a LibreOffice or OpenOffice spreadsheet (ods)" + save)
	case strings.Contains(mimetype, "opendocument"):
		return "", problem("this is a LibreOffice or OpenOffice document, not a list: export the list as CSV UTF-8 or xlsx from where it was made")
	case a.has("Index/Document.iwa"), a.has("index.apxl"), begins("Index/Tables/"):
		return "", problem("this is an Apple Numbers spreadsheet" + save)
	case a.has("word/document.xml"):
		return "", problem("this is a Word document (docx), not a list: export the list as CSV UTF-8 or xlsx from where it was made")
	case a.has("ppt/presentation.xml"):
		return "", problem("this is a presentation (pptx), not a list: export the list as CSV UTF-8 or xlsx from where it was made")
	case a.has("[Content_Types].xml") && (begins("xl/") || a.has("_rels/.rels")):
		return "xlsx", nil
	}
	return "zip", nil
}

// open unpacks a member as it is read.
func (a *archive) open(f *zip.File) (*unpacking, error) {
	if f.Flags&1 != 0 {
		return nil, problemf("%q is encrypted: unpack it with its password first", f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, unpackProblem(a.what, err)
	}
	packed := int64(min(f.CompressedSize64, uint64(a.size)))
	return &unpacking{r: r, what: a.what, packed: func() int64 { return packed }, size: int64(min(f.UncompressedSize64, 1<<62)), most: a.most}, nil
}

// listExtensions are how the names of lists end in an archive.
func listExtensions() []string { return []string{".csv", ".tsv", ".tab", ".txt", ".xlsx", ".xlsm"} }

// choose returns the member that is to be read: the named one, or the only one
// that is a list by its name, or the only one at all.
func (a *archive) choose(member string) (*zip.File, error) {
	var files, lists []*zip.File
	for _, f := range a.zip.File {
		base := path.Base(strings.ReplaceAll(f.Name, `\`, "/"))
		switch {
		case member != "" && f.Name == member && !strings.HasSuffix(f.Name, "/"):
			return f, nil
		case strings.HasSuffix(f.Name, "/"), strings.HasPrefix(f.Name, "__MACOSX/"), strings.HasPrefix(base, "."),
			strings.EqualFold(base, "thumbs.db"), strings.EqualFold(base, "desktop.ini"):
			continue // folders, and what systems leave behind
		}
		files = append(files, f)
		if slices.Contains(listExtensions(), strings.ToLower(path.Ext(base))) {
			lists = append(lists, f)
		}
	}
	switch {
	case len(files) == 0:
		return nil, problem("the archive is empty: there is no file in it")
	case member != "":
		return nil, problemf("the archive has no file %q: it has %s", member, memberNames(files))
	case len(lists) == 1:
		return lists[0], nil
	case len(files) == 1:
		return files[0], nil
	case len(lists) == 0:
		return nil, problemf("the archive has no csv, tsv, txt or xlsx file: it has %s; name one with --member", memberNames(files))
	}
	return nil, problemf("the archive has %d lists, %s: name one with --member", len(lists), memberNames(lists))
}

// memberNames lists members for a message, the first ten of them.
func memberNames(files []*zip.File) string {
	var names []string
	for i, f := range files {
		if i == 10 {
			names = append(names, fmt.Sprintf("… and %d more", len(files)-10))
			break
		}
		name := f.Name
		if r := []rune(name); len(r) > 100 {
			name = string(r[:100]) + "…"
		}
		names = append(names, fmt.Sprintf("%q", name))
	}
	return strings.Join(names, ", ")
}
