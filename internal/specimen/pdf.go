// Package specimen makes small real documents for tests and examples: a file
// that only begins like a PDF passes no check that is worth its name.
package specimen

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"strings"
)

// Sizes of pages in points, a 72nd of an inch: width, height.
var (
	A4       = [2]float64{595.28, 841.89}
	A5       = [2]float64{419.53, 595.28}
	USLetter = [2]float64{612, 792}
)

// PDF says what a document is to be like. The zero value has no pages.
type PDF struct {
	Pages  int
	Size   [2]float64 // of every page; A4 when zero
	Sizes  [][2]float64
	Rotate int    // degrees, of every page
	Text   string // stands on every page; makes two documents differ
	// Unpacked is how many bytes of blanks each page's content unpacks to
	// besides its text: they take next to no room packed.
	Unpacked int
	// Count is what the page tree claims to hold; 0: the truth.
	Count int
}

// Letter is an A4 letter of so many pages with a text on it.
func Letter(text string, pages int) []byte { return PDF{Pages: pages, Text: text}.Bytes() }

// Card is an A5 side or two of a postcard.
func Card(text string, pages int) []byte { return PDF{Pages: pages, Size: A5, Text: text}.Bytes() }

// Bytes writes the document.
func (p PDF) Bytes() []byte {
	var b bytes.Buffer
	var offsets []int
	object := func(format string, args ...any) {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n", len(offsets))
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\nendobj\n")
	}
	b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	object("<< /Type /Catalog /Pages 2 0 R >>")
	kids := make([]string, p.Pages)
	for i := range kids {
		kids[i] = fmt.Sprintf("%d 0 R", 5+i)
	}
	count := p.Count
	if count == 0 {
		count = p.Pages
	}
	object("<< /Type /Pages /Kids [%s] /Count %d >>", strings.Join(kids, " "), count)
	object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
	content := p.content()
	object("<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream", len(content), content)
	for i := range p.Pages {
		size := p.Size
		if i < len(p.Sizes) {
			size = p.Sizes[i]
		}
		if size == ([2]float64{}) {
			size = A4
		}
		object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %g %g] /Rotate %d /Resources << /Font << /F1 3 0 R >> >> /Contents 4 0 R >>", size[0], size[1], p.Rotate)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, at := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, start)
	return b.Bytes()
}

// content draws the text, packed.
func (p PDF) content() []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	text := strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(p.Text)
	fmt.Fprintf(z, "BT /F1 12 Tf 60 700 Td (%s) Tj ET\n", text) // a bytes.Buffer takes everything
	blanks := bytes.Repeat([]byte(" "), 1<<16)
	for left := p.Unpacked; left > 0; left -= len(blanks) {
		_, _ = z.Write(blanks[:min(left, len(blanks))])
	}
	_ = z.Close()
	return b.Bytes()
}
