package document

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

// What reading one PDF may take. A file that needs more is refused, whatever
// it is: a print job that unpacks to gigabytes prints nowhere.
const (
	maxReading  = 30 * time.Second
	maxUnpacked = 128 << 20 // bytes of all its streams of objects together, and of all its pages' contents
	maxObjects  = 2_000_000
	maxDepth    = 100 // of objects, and of the page tree
)

const exportAgain = "export the PDF again from where it was made"

// inspectPDF reads a PDF's objects with pdfcpu, which mends what can be mended,
// and then walks the page tree. A reader that hangs on a hostile file is left
// behind when its time is up, and one that panics has found a damaged file.
//
// pdfcpu's validation is not asked. It judges the whole of a document, forms,
// fonts and bookmarks, and refuses many that print well; nor is its own walk of
// the page tree (PageDims): it believes the number of pages that the file
// claims to have, and gives a page the size of its neighbour where it should
// inherit its parent's.
func inspectPDF(name string, content []byte, i Info) (Info, error) {
	if at := bytes.LastIndex(content, []byte("%%EOF")); at < 0 {
		return i, fault(CodeUnreadable, name, 0, "the PDF is cut off: its end mark is missing, so that pages may be too; it was perhaps still being written or copied; %s", exportAgain)
	}
	type result struct {
		info Info
		err  error
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxReading)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		r := result{info: i}
		defer func() { done <- r }()
		defer func() {
			if recover() != nil {
				r.err = fault(CodeUnreadable, name, 0, "the PDF is damaged: %s", exportAgain)
			}
		}()
		r.err = readPDF(ctx, name, content, &r.info)
	}()
	select {
	case r := <-done:
		return r.info, r.err
	case <-ctx.Done():
		return i, tooSlow(name)
	}
}

func tooSlow(name string) error {
	return fault(CodeUnreadable, name, 0, "the PDF takes more than %s to read: it is damaged or far too complicated to print; %s", maxReading, exportAgain)
}

func readPDF(ctx context.Context, name string, content []byte, i *Info) error {
	doc, err := pdfcpu.ReadWithContext(ctx, bytes.NewReader(content), reading(content))
	switch {
	case errors.Is(err, pdfcpu.ErrWrongPassword), errors.Is(err, pdfcpu.ErrUnsupportedEncryptionFeature), errors.Is(err, pdfcpu.ErrMalformedEncryption):
		i.Encrypted = true
		return nil
	case ctx.Err() != nil:
		return tooSlow(name)
	case err != nil:
		return fault(CodeUnreadable, name, 0, "the PDF cannot be read (%v): it is damaged or cut off; %s", err, exportAgain)
	}
	if doc.Encrypt != nil { // it opens without a password, and forbids things
		i.Encrypted = true
		return nil
	}
	catalog, err := doc.Catalog()
	if err != nil || catalog == nil {
		return fault(CodeUnreadable, name, 0, "the PDF has no catalogue, so that its pages cannot be found: it is damaged; %s", exportAgain)
	}
	root := catalog.IndirectRefEntry("Pages")
	if root == nil {
		return fault(CodeUnreadable, name, 0, "the PDF has no page tree: it is damaged; %s", exportAgain)
	}
	w := walk{ctx: ctx, name: name, doc: doc, info: i, unpacked: map[int]bool{}, within: map[int]bool{}}
	if err := w.node(*root, inherited{userUnit: 1}, 0); err != nil {
		return err
	}
	i.Pages = len(i.Sizes)
	return nil
}

// reading is how pdfcpu is to read: forgivingly, without its configuration
// file, which it would otherwise make in the user's home, and within bounds.
func reading(content []byte) *model.Configuration {
	limits := model.DefaultResourceLimits()
	limits.MaxStreamBytes = int64(len(content))
	// Each stream of objects is bounded, and all of them together are what must be.
	limits.MaxDecodeBytes = maxUnpacked / int64(1+bytes.Count(content, []byte("ObjStm")))
	limits.MaxObjectCount = maxObjects
	limits.MaxXRefEntries = maxObjects
	limits.MaxRecursionDepth = maxDepth
	return &model.Configuration{
		Reader15:       true,
		ValidationMode: model.ValidationRelaxed,
		Cmd:            model.LISTINFO,
		Eol:            types.EolLF,
		Offline:        true,
		Limits:         limits,
	}
}

// walk goes through a page tree.
type walk struct {
	ctx      context.Context
	name     string
	doc      *model.Context
	info     *Info
	within   map[int]bool // objects of the tree that lead here: a loop has no end
	unpacked map[int]bool // contents that were looked at: pages may share them
	bytes    int64        // that these unpacked to
}

// inherited is what a page has from the nodes above it.
type inherited struct {
	media, crop *types.Rectangle
	rotate      int
	userUnit    float64
}

func (w *walk) damaged(format string, args ...any) error {
	return fault(CodeUnreadable, w.name, len(w.info.Sizes)+1, "%s; the PDF is damaged: %s", fmt.Sprintf(format, args...), exportAgain)
}

func (w *walk) node(ref types.IndirectRef, from inherited, depth int) error {
	number := ref.ObjectNumber.Value()
	switch {
	case w.ctx.Err() != nil:
		return tooSlow(w.name)
	case depth > maxDepth:
		return w.damaged("the page tree is deeper than %d", maxDepth)
	case w.within[number]:
		return w.damaged("the page tree leads back to itself")
	}
	w.within[number] = true
	defer delete(w.within, number)
	d, err := w.doc.DereferenceDict(ref)
	if err != nil || d == nil {
		return w.damaged("the page is not in the file")
	}
	if err := w.inherit(d, &from); err != nil {
		return err
	}
	kids, err := w.kids(d)
	if err != nil {
		return err
	}
	if kids == nil {
		return w.page(d, from)
	}
	for _, kid := range kids {
		ref, ok := kid.(types.IndirectRef)
		if !ok {
			return w.damaged("the page tree holds something that is no page")
		}
		if err := w.node(ref, from, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// kids returns what is below a node of the tree; nil when it is a page.
func (w *walk) kids(d types.Dict) (types.Array, error) {
	o, found := d.Find("Kids")
	if kind := d.Type(); kind != nil && *kind == "Page" || kind == nil && !found {
		return nil, nil
	}
	kids, err := w.doc.DereferenceArray(o)
	if err != nil {
		return nil, w.damaged("the page tree cannot be read")
	}
	if kids == nil {
		kids = types.Array{}
	}
	return kids, nil
}

// inherit takes over what a node says of the pages below it.
func (w *walk) inherit(d types.Dict, to *inherited) error {
	for key, box := range map[string]**types.Rectangle{"MediaBox": &to.media, "CropBox": &to.crop} {
		r, err := w.box(d, key)
		if err != nil {
			return err
		}
		if r != nil {
			*box = r
		}
	}
	if n, ok := w.number(d, "Rotate"); ok {
		to.rotate = int(math.Mod(n, 360))
	}
	if n, ok := w.number(d, "UserUnit"); ok && n > 0 {
		to.userUnit = n
	}
	return nil
}

func (w *walk) number(d types.Dict, key string) (float64, bool) {
	o, found := d.Find(key)
	if !found || o == nil {
		return 0, false
	}
	n, err := w.doc.DereferenceNumber(o)
	return n, err == nil
}

// box reads a rectangle, in points, whose corners may stand in any order.
func (w *walk) box(d types.Dict, key string) (*types.Rectangle, error) {
	o, found := d.Find(key)
	if !found || o == nil {
		return nil, nil
	}
	a, err := w.doc.DereferenceArray(o)
	if err != nil || len(a) != 4 {
		return nil, w.damaged("%s is not a rectangle", key)
	}
	var n [4]float64
	for i := range n {
		if n[i], err = w.doc.DereferenceNumber(a[i]); err != nil {
			return nil, w.damaged("%s is not a rectangle", key)
		}
	}
	return types.NewRectangle(min(n[0], n[2]), min(n[1], n[3]), max(n[0], n[2]), max(n[1], n[3])), nil
}

func (w *walk) page(d types.Dict, from inherited) error {
	if len(w.info.Sizes) == MaxPages {
		return fault(CodeManyPages, w.name, 0, "the PDF has more than %d pages, the most that is sent: it is perhaps many letters in one file; make a file of each", MaxPages)
	}
	if from.media == nil {
		return w.damaged("the page has no size (MediaBox)")
	}
	// What is printed is the part of the medium that the crop box leaves.
	llx, lly, urx, ury := from.media.LL.X, from.media.LL.Y, from.media.UR.X, from.media.UR.Y
	if c := from.crop; c != nil && min(urx, c.UR.X) > max(llx, c.LL.X) && min(ury, c.UR.Y) > max(lly, c.LL.Y) {
		llx, lly, urx, ury = max(llx, c.LL.X), max(lly, c.LL.Y), min(urx, c.UR.X), min(ury, c.UR.Y)
	}
	const millimetres = 25.4 / 72
	s := Size{Width: (urx - llx) * from.userUnit * millimetres, Height: (ury - lly) * from.userUnit * millimetres}
	if from.rotate%180 != 0 {
		s.Width, s.Height = s.Height, s.Width
	}
	contents, _ := d.Find("Contents")
	if err := w.contents(contents, 0); err != nil {
		return err
	}
	w.info.Sizes = append(w.info.Sizes, s)
	return nil
}

// contents unpacks what is drawn on a page, or a part of it, to see whether it
// can be: a page whose content is damaged prints blank. A page without content
// is a blank one.
func (w *walk) contents(o types.Object, depth int) error {
	if depth > maxDepth {
		return w.damaged("the page's content is nested too deeply")
	}
	if ref, ok := o.(types.IndirectRef); ok {
		number := ref.ObjectNumber.Value()
		if w.unpacked[number] {
			return nil
		}
		w.unpacked[number] = true
	}
	o, err := w.doc.Dereference(o)
	if err != nil {
		return w.damaged("the page's content is not in the file")
	}
	switch o := o.(type) {
	case types.Array:
		for _, part := range o {
			if err := w.contents(part, depth+1); err != nil {
				return err
			}
		}
	case types.StreamDict:
		return w.stream(&o)
	}
	return nil
}

// stream unpacks a stream that is packed with Flate, as all but a few are; the
// others are taken as they are. The check sum at its end is not asked: there
// are programs that write wrong ones, and no printer looks at it.
func (w *walk) stream(s *types.StreamDict) error {
	if len(s.FilterPipeline) != 1 || s.FilterPipeline[0].Name != "FlateDecode" || len(s.Raw) == 0 {
		return nil
	}
	const header = 2 // bytes of zlib before what Flate packed
	if len(s.Raw) <= header || s.Raw[0]&0x0f != 8 || (int(s.Raw[0])<<8|int(s.Raw[1]))%31 != 0 {
		return w.damaged("the page's content cannot be unpacked")
	}
	z := flate.NewReader(bytes.NewReader(s.Raw[header:]))
	n, err := io.Copy(io.Discard, io.LimitReader(z, maxUnpacked-w.bytes+1))
	if w.bytes += n; w.bytes > maxUnpacked {
		return fault(CodeTooLarge, w.name, len(w.info.Sizes)+1, "the page's content unpacks to more than %d MB, which no printer takes: %s, with its pictures made smaller", maxUnpacked>>20, exportAgain)
	}
	if err != nil {
		return w.damaged("the page's content breaks off or is garbled")
	}
	return nil
}
