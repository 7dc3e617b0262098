package sandbox

import (
	"bytes"
	"compress/zlib"
	"io"
	"regexp"
	"strconv"
)

// How a PDF's pages are counted. A whole PDF library is not needed to know how
// long a letter is: the page tree's root says it in /Count, and it is an object
// of type /Pages without a /Parent. It stands either in the file as text, or
// inside a compressed object stream (PDF 1.5), which this unpacks. When a file
// was saved several times the last root counts. Where no root is found, the
// /Page objects are counted.
var (
	pdfPagesType = regexp.MustCompile(`/Type\s*/Pages\b`)
	pdfPageType  = regexp.MustCompile(`/Type\s*/Page\b`)
	pdfCount     = regexp.MustCompile(`/Count\s+(\d{1,6})\b`)
	pdfObjStm    = regexp.MustCompile(`/Type\s*/ObjStm\b`)
	pdfFlate     = regexp.MustCompile(`/FlateDecode\b|/Fl\b`)
)

// maxUnpacked bounds what one object stream may unpack to.
const maxUnpacked = 32 << 20

// pdfPages returns the number of pages of a PDF, or 0 when none can be found.
func pdfPages(pdf []byte) int {
	root, leaves := countPages(pdf)
	for rest := pdf; ; {
		at := bytes.Index(rest, []byte("stream"))
		if at < 0 {
			break
		}
		head := rest[:at]
		body := rest[at+len("stream"):]
		end := bytes.Index(body, []byte("endstream"))
		if end < 0 {
			break
		}
		if open := bytes.LastIndex(head, []byte(" obj")); open >= 0 {
			dict := head[open:]
			if pdfObjStm.Match(dict) && pdfFlate.Match(dict) {
				r, l := countPages(inflate(body[:end]))
				if r > 0 {
					root = r
				}
				leaves += l
			}
		}
		rest = body[end+len("endstream"):]
	}
	if root > 0 {
		return root
	}
	return leaves
}

// countPages reads the last page tree root's /Count and counts page objects.
func countPages(text []byte) (root, leaves int) {
	leaves = len(pdfPageType.FindAll(text, -1))
	budget := 64 << 20 // bytes of dictionaries: a hostile file must not take for ever
	for _, at := range pdfPagesType.FindAllIndex(text, -1) {
		dict := enclosingDict(text, at[0])
		if budget -= len(dict); budget < 0 {
			break
		}
		if bytes.Contains(dict, []byte("/Parent")) {
			continue
		}
		if m := pdfCount.FindSubmatch(dict); m != nil {
			if n, err := strconv.Atoi(string(m[1])); err == nil && n > 0 {
				root = n
			}
		}
	}
	return root, leaves
}

// maxDict bounds how far a dictionary is followed to either side.
const maxDict = 256 << 10

// enclosingDict returns the dictionary << ... >> around a position, as far as
// it can be seen.
func enclosingDict(text []byte, at int) []byte {
	start := max(at-maxDict, 0)
	text, at = text[start:min(at+maxDict, len(text))], at-start
	from, depth := 0, 0
	for i := at - 2; i >= 0 && depth >= 0; i-- {
		switch string(text[i : i+2]) {
		case ">>":
			depth++
			i--
		case "<<":
			depth--
			from = i
			i--
		}
	}
	if depth >= 0 {
		from = 0 // no beginning in sight
	}
	depth = 0
	for i := from; i+2 <= len(text); i++ {
		switch string(text[i : i+2]) {
		case "<<":
			depth++
			i++
		case ">>":
			if depth--; depth <= 0 {
				return text[from : i+2]
			}
			i++
		}
	}
	return text[from:]
}

// inflate unpacks a Flate stream as far as it goes.
func inflate(packed []byte) []byte {
	r, err := zlib.NewReader(bytes.NewReader(bytes.TrimLeft(packed, "\r\n")))
	if err != nil {
		return nil
	}
	// A damaged end leaves what came before it.
	text, _ := io.ReadAll(io.LimitReader(r, maxUnpacked))
	return text
}
