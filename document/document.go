// Package document looks into the files that are printed and sent, before
// anything is: whether they can be read, how many pages they have and of what
// size, and whether a letter, a postcard or an MMS can be made of them.
package document

import (
	"fmt"
	"math"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// Limits of printed matter. The provider's documents name neither a size of
// file nor a number of pages for post (shared/api/semantics.md, sections 10, 15
// and 16); these are ours.
const (
	MaxSize  = 20 << 20 // bytes of a file: one is held in memory at a time
	MaxPages = 1000     // of a document: no envelope holds more; it is many letters in one file
)

// Info is what a file was found to be.
type Info struct {
	Type  string // as campaign.FileType names it: pdf, jpg; empty when it is none of those
	Bytes int
	// Pages is how many pages a PDF has; 0 for everything else, whose pages are
	// known only to the provider, which converts it.
	Pages     int
	Sizes     []Size // of each page of a PDF
	Encrypted bool   // a PDF; then its pages are not known
	// Width and Height are those of a picture, in pixels.
	Width, Height int
}

// Size is the size of a page in millimetres, as it lies before the reader:
// turned as the page says it is to be turned.
type Size struct{ Width, Height float64 }

// sizeTolerance is how far a page may be off, in millimetres: programs round
// to whole points (0.35 mm), some to whole millimetres.
const sizeTolerance = 2

// LetterSize is what campaign.File.PageSize says of a PDF that is a letter.
const LetterSize = "A4"

// Paper sizes by ISO 216, in millimetres.
var (
	a4 = Size{210, 297}
	a5 = Size{148, 210}
)

// is reports whether the sheet has a size, whichever way it lies.
func (s Size) is(paper Size) bool {
	near := func(a, b float64) bool { return math.Abs(a-b) <= sizeTolerance }
	return near(s.Width, paper.Width) && near(s.Height, paper.Height) || s.IsLandscapeOf(paper)
}

// IsLandscapeOf reports whether the sheet is one of paper that lies on its side.
func (s Size) IsLandscapeOf(paper Size) bool {
	return math.Abs(s.Width-paper.Height) <= sizeTolerance && math.Abs(s.Height-paper.Width) <= sizeTolerance
}

// String names the size: A4, A5, or its millimetres, width first.
func (s Size) String() string {
	switch {
	case s.is(a4):
		return LetterSize
	case s.is(a5):
		return "A5"
	}
	return fmt.Sprintf("%.0f × %.0f mm", s.Width, s.Height)
}

// PageSize is the size that all pages have, as Size names it; empty when they
// differ, and where none is known.
func (i Info) PageSize() string {
	if len(i.Sizes) == 0 {
		return ""
	}
	name := i.Sizes[0].String()
	for _, s := range i.Sizes[1:] {
		if s.String() != name {
			return ""
		}
	}
	return name
}

// Code says to a machine what is wrong with a file.
type Code string

// What can be wrong with a file.
const (
	CodeUnreadable Code = "unreadable"     // damaged, cut off, or not what its name says
	CodeEncrypted  Code = "encrypted"      // a PDF with a password or with restrictions
	CodeNoPages    Code = "no_pages"       // a PDF without a page
	CodeManyPages  Code = "too_many_pages" // more pages than can be sent
	CodeFewPages   Code = "too_few_pages"  // fewer pages than a postcard has
	CodePageSize   Code = "page_size"      // not A4
	CodeType       Code = "file_type"      // a type that the channel cannot have
	CodeTooLarge   Code = "too_large"      // more bytes than can be sent
	CodeEmpty      Code = "empty"
)

// Fault is an error that says what is wrong with one file: what was found, what
// was expected and what to do. It has campaign.CodeInvalid.
type Fault struct {
	Code Code
	File string // base name
	Page int    // the first page at fault, from 1; 0 when it is the whole file
	Text string
}

func (f *Fault) Error() string {
	if f.Page > 0 {
		return fmt.Sprintf("%s, page %d: %s", f.File, f.Page, f.Text)
	}
	return f.File + ": " + f.Text
}

// Unwrap returns the code.
func (f *Fault) Unwrap() error {
	return &campaign.Error{Code: campaign.CodeInvalid, Message: "the file cannot be sent"}
}

func fault(code Code, name string, page int, format string, args ...any) *Fault {
	return &Fault{Code: code, File: base(name), Page: page, Text: fmt.Sprintf(format, args...)}
}

// base is the last part of a path, whichever system wrote it.
func base(name string) string {
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

// Inspect looks into a file. The name gives the kind of Office file and stands
// in errors; it may be a path. The error is a *Fault: the file is damaged, or
// would take too much to read. An encrypted PDF is no error here. A file of an
// unknown type is none either: its Type is empty.
func Inspect(name string, content []byte) (Info, error) {
	i := Info{Type: campaign.FileType(name, content[:min(len(content), 512)]), Bytes: len(content)}
	if len(content) == 0 {
		return i, fault(CodeEmpty, name, 0, "the file is empty: it was perhaps still being written, or its export failed; make it again")
	}
	switch i.Type {
	case "pdf":
		return inspectPDF(name, content, i)
	case "jpg", "png", "gif", "bmp":
		return inspectPicture(name, content, i)
	case "docx":
		return i, inspectDocx(name, content)
	}
	return i, nil
}
